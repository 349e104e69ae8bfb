//! One per process: wasmtime, set up so that a guest can neither stall nor bloat the proxy, and the clock
//! that cuts it off.
//!
//! Every setting that differs from wasmtime's default is here, with its reason. Loading is in `load.rs`.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use wasmtime::{
    Config, InstanceAllocationStrategy, PoolingAllocationConfig, Store, WasmFeatures, component::Component,
};

use crate::{
    code_cache::{CodeCache, CodeCacheError},
    limits::{
        CORE_INSTANCES_MAX, Guarded, HANDLES_MAX, Limits, MEMORIES_MAX, PASSED_BYTES_MAX, TABLE_ELEMENTS_MAX,
        TABLES_MAX,
    },
};

/// How often the epoch moves: how exactly a deadline is kept.
const TICK: Duration = Duration::from_millis(1);
/// Bookkeeping of one component or core instance; several times what a large interpreter takes.
const INSTANCE_BYTES_MAX: usize = 4 << 20;
/// What stays mapped of a slot's memory between two uses: cheaper to clear than to map anew.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;
/// The same for its table of functions, which takes 8 bytes an element.
const KEEP_RESIDENT_TABLE_BYTES: usize = 16 << 10;
/// Slots that nobody uses and that keep what is resident of them, for the next instance of the same code. A policy that was
/// replaced has no next one, so many of these would only be memory that a hundred swaps leave behind.
const WARM_SLOTS: u32 = 4;
/// After the end of a memory, where its bounds are checked by the guest's own code: one page traps the rest.
const SMALL_GUARD_BYTES: u64 = 64 << 10;

/// Compiles and runs policies. Clones share everything; the ticker ends with the last of them and of the
/// policies they loaded.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    code_cache: Option<Arc<CodeCache>>,
}

pub(crate) struct Shared {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) limits: Limits,
    pub(crate) ticker: Ticker,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("set up WebAssembly: {0}")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("start the thread that keeps policy deadlines: {0}")]
    Ticker(#[source] std::io::Error),
}

impl Engine {
    /// Reserves the addresses for all instances at once; later ones cost microseconds and no allocation. Where
    /// there are not so many addresses (`ulimit -v`), an instance takes what it needs when it is made.
    pub fn new(limits: Limits) -> Result<Self, EngineError> {
        let (wasmtime, limits) = match wasmtime::Engine::new(&pooled(&limits)) {
            Ok(wasmtime) => (wasmtime, limits),
            Err(_) => {
                let wasmtime = wasmtime::Engine::new(&on_demand(&limits));
                let wasmtime = wasmtime.map_err(|error| EngineError::Setup(error.into()))?;
                (wasmtime, Limits { instances: u32::MAX, ..limits })
            }
        };
        let ticker = Ticker::start(wasmtime.clone()).map_err(EngineError::Ticker)?;
        Ok(Self { shared: Arc::new(Shared { wasmtime, limits, ticker }), code_cache: None })
    }

    /// How many instances there may be at once.
    pub fn instances_max(&self) -> u32 {
        self.shared.limits.instances
    }

    /// The same, keeping what it compiles in a folder, and taking from there what it compiled before.
    ///
    /// # Errors
    /// The folder cannot be made, or others than the user of this process can read or write there.
    pub fn with_code_cache(self, folder: &Path) -> Result<Self, CodeCacheError> {
        Ok(Self { code_cache: Some(Arc::new(CodeCache::open(folder)?)), ..self })
    }

    /// Takes a component from the folder of compiled ones, or compiles it.
    pub(crate) fn compiled(&self, name: &str, wasm: &[u8]) -> wasmtime::Result<Component> {
        let engine = &self.shared.wasmtime;
        if let Some(known) = self.code_cache.as_ref().and_then(|cache| cache.load(engine, wasm)) {
            return Ok(known);
        }
        let component = Component::from_binary(engine, wasm)?;
        if let Some(cache) = &self.code_cache
            && let Err(why) = cache.store(engine, wasm, &component)
        {
            tracing::warn!(
                "{name}: its compiled code is not kept, so the next start compiles it again: {why}"
            );
        }
        Ok(component)
    }
}

/// 4 GiB of addresses for each memory, so that compiled code need not check bounds.
fn pooled(limits: &Limits) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits.instances)
        .total_core_instances(limits.instances.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(limits.instances.saturating_mul(MEMORIES_MAX))
        .total_tables(limits.instances.saturating_mul(TABLES_MAX))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(limits.memory_bytes)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_TABLE_BYTES)
        .max_unused_warm_slots(WARM_SLOTS);
    let mut config = common();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// No more addresses than a memory may have bytes. What bounds an instance is [`Guarded`] alone; how many
/// there are is not bounded here, but a thread has no more than one for each policy.
fn on_demand(limits: &Limits) -> Config {
    let mut config = common();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(u64::try_from(limits.memory_bytes).unwrap_or(u64::MAX))
        .memory_reservation_for_growth(0)
        .memory_guard_size(SMALL_GUARD_BYTES);
    config
}

fn common() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Costs 400 ns on every call, for tasks that policies do not have.
        .concurrency_support(false);
    // What no compiler for policies uses without being told to is code of wasmtime that no guest can reach:
    // most advisories of late need one of these. Several memories are what wasmtime itself needs for the adapters between the
    // parts of a component; `memories.rs` holds the guest's own modules to one. Relaxed SIMD also answers differently on different
    // processors. Threads, exceptions, collected types and stack switching are not compiled in at all.
    for proposal in [
        WasmFeatures::MEMORY64,
        WasmFeatures::TAIL_CALL,
        WasmFeatures::GC,
        WasmFeatures::FUNCTION_REFERENCES,
        WasmFeatures::RELAXED_SIMD,
    ] {
        config.wasm_features(proposal, false);
    }
    config
}

impl Shared {
    /// A store whose guest is bounded in every way but time: set a deadline before each call.
    pub(crate) fn store(&self, deadline: Duration) -> Store<Guarded> {
        let mut store = Store::new(&self.wasmtime, Guarded::new(&self.limits, deadline));
        store.limiter(|guarded| guarded);
        store.set_hostcall_fuel(PASSED_BYTES_MAX);
        store.set_max_component_handles(HANDLES_MAX);
        store
    }
}

/// The epoch at which a call that begins now is cut off, as a number of ticks from now.
pub(crate) fn ticks(deadline: Duration) -> u64 {
    // One more: the tick under way has already lost an unknown part of its millisecond.
    u64::try_from(deadline.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX / 2).saturating_add(1)
}

/// Moves the epoch from the first policy on until it is dropped. Without a policy there is nobody to cut off, and a thread
/// that wakes a thousand times a second would be felt by the workers.
pub(crate) struct Ticker {
    /// A message lets it begin; it ends when this end is gone.
    begin: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let (begin, begun) = mpsc::channel();
        let thread = std::thread::Builder::new().name("policy-ticker".to_owned()).spawn(move || {
            if begun.recv().is_err() {
                return;
            }
            while begun.recv_timeout(TICK) != Err(mpsc::RecvTimeoutError::Disconnected) {
                engine.increment_epoch();
            }
        })?;
        Ok(Self { begin: Some(begin), thread: Some(thread) })
    }

    /// There is something to keep deadlines for.
    pub(crate) fn begin(&self) {
        if let Some(begin) = &self.begin {
            // The thread lives as long as this.
            let _ = begin.send(());
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.begin.take());
        if let Some(thread) = self.thread.take() {
            // A ticker that panicked has ended too, and that is all that is asked of it here.
            drop(thread.join());
        }
    }
}
