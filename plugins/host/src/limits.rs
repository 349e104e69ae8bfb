//! What a policy may use, and what the host accepts from it: every number in one place.
//!
//! Time is guarded by the epoch (`engine.rs`), memory by [`Guarded`], which is the data of every store.

use std::{borrow::Cow, time::Duration};

use wasmtime::ResourceLimiter;

/// What one policy instance may use. The defaults suit policies in compiled languages and in interpreted ones.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long one call may take. Counted in ticks of a millisecond: a call is cut off at most one tick late.
    pub deadline: Duration,
    /// Ceiling of one instance's linear memory, of all its parts together.
    pub memory_bytes: usize,
    /// How many instances may exist at once: policies times threads, and one while a policy is loaded.
    pub instances: u32,
    /// After so many calls an instance is replaced, so that what it leaks or remembers has an end.
    pub calls_per_instance: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(10),
            // An interpreter with its program takes 2 to 5 MB at start.
            memory_bytes: 64 << 20,
            // Each slot reserves 4 GiB of addresses (no memory): 2 TiB of the 128 TiB there are.
            instances: 512,
            // At 1,000 the price of a fresh instance is below what can be measured per call.
            calls_per_instance: 1_000,
        }
    }
}

impl Limits {
    /// The defaults, with room for some policies on each of so many threads.
    pub fn for_threads(threads: usize) -> Self {
        let fewest = Self::default().instances;
        let instances = u32::try_from(threads).unwrap_or(u32::MAX).saturating_mul(INSTANCES_PER_THREAD);
        Self { instances: instances.clamp(fewest, INSTANCES_MAX), ..Self::default() }
    }
}

/// A route that has settings of its own for a policy has a policy of its own.
const INSTANCES_PER_THREAD: u32 = 64;
/// Two memories each, which together are half of the addresses that there are.
const INSTANCES_MAX: u32 = 8_192;
/// At load, and where cases are put to a policy, nobody waits for the answer, and an interpreter warms up: more time than
/// [`Limits::deadline`].
pub(crate) const LOAD_DEADLINE: Duration = Duration::from_secs(1);
/// Bytes a guest may hand over in one call: the largest answer body and all else it may say, with room.
pub(crate) const PASSED_BYTES_MAX: usize = 4 << 20;
/// Handles to host resources: output streams, and what is asked of them whether they are ready.
pub(crate) const HANDLES_MAX: usize = 64;
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;
/// What one component is made of. The guest and the adapters around it are about five core instances; an
/// interpreter linked from shared libraries is some twenty, which share one memory and one table.
pub(crate) const CORE_INSTANCES_MAX: u32 = 40;
pub(crate) const TABLES_MAX: u32 = 8;
/// One for the policy and one for a stub that its toolchain puts beside it.
pub(crate) const MEMORIES_MAX: u32 = 2;
/// What an instance wrote to standard error: the end of it is kept for the fault message.
const SAID_BYTES_MAX: usize = 1_000;

pub(crate) const INPUTS_MAX: usize = 64;
pub(crate) const INPUT_NAME_BYTES_MAX: usize = 256;
pub(crate) const NAME_BYTES_MAX: usize = 64;
pub(crate) const SCHEMA_BYTES_MAX: usize = 64 << 10;
pub(crate) const SELF_TESTS_MAX: usize = 64;
pub(crate) const SELF_TEST_BYTES_MAX: usize = 64 << 10;
/// All cases together: each may take the time of several calls, and a deploy waits for them.
pub(crate) const SELF_TEST_TIME: Duration = Duration::from_secs(10);
pub(crate) const PARAMETERS_MAX: usize = 64;
pub(crate) const KEY_PARTS_MAX: usize = 16;
pub(crate) const KEY_PART_BYTES_MAX: usize = 1_024;
pub(crate) const TAGS_MAX: usize = 64;
pub(crate) const TAG_BYTES_MAX: usize = 256;
pub(crate) const FIELDS_MAX: usize = 64;
pub(crate) const FIELD_VALUE_BYTES_MAX: usize = 8 << 10;
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
pub(crate) const REASON_BYTES_MAX: usize = 256;
/// RFC 9111 s. 1.2.2: a cache need not count further than 2^31 seconds.
pub(crate) const DURATION_MS_MAX: u64 = (1 << 31) * 1_000;

/// The data of a store: the ceiling on memory, and what is worth telling when a call fails.
pub(crate) struct Guarded {
    pub(crate) deadline: Duration,
    pub(crate) memory_bytes: usize,
    /// By all memories of the store.
    used_bytes: usize,
    /// A growth was refused. Most guests then trap by themselves, which alone would not say why.
    pub(crate) denied: Option<Growth>,
    said: Vec<u8>,
}

/// What a guest wanted more of than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    Memory,
    Table,
}

impl Guarded {
    pub(crate) fn new(limits: &Limits, deadline: Duration) -> Self {
        Self { deadline, memory_bytes: limits.memory_bytes, used_bytes: 0, denied: None, said: Vec::new() }
    }

    /// Forgets the call before: its words may be about another client, and what it was denied it got over.
    pub(crate) fn begin_call(&mut self) {
        self.denied = None;
        self.said.clear();
    }

    /// Keeps the end of what the guest writes to standard error.
    pub(crate) fn hear(&mut self, bytes: impl Iterator<Item = u8>) {
        self.said.extend(bytes);
        let surplus = self.said.len().saturating_sub(SAID_BYTES_MAX);
        self.said.drain(..surplus);
    }

    /// What was heard, as one line without control characters.
    pub(crate) fn said(&self) -> Cow<'_, str> {
        let text = String::from_utf8_lossy(&self.said);
        Cow::Owned(text.trim().replace(char::is_control, " "))
    }
}

impl ResourceLimiter for Guarded {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.used_bytes.saturating_sub(current).saturating_add(desired);
        let granted = wanted <= self.memory_bytes;
        if granted {
            self.used_bytes = wanted;
        } else {
            self.denied = Some(Growth::Memory);
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= TABLE_ELEMENTS_MAX;
        if !granted {
            self.denied = Some(Growth::Table);
        }
        Ok(granted)
    }

    // These three count over the life of a store, which holds one component.
    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}
