//! Why a call gave no decision: the four kinds, and how wasmtime's errors become one of them.
//!
//! A fault is the policy's; a decision the proxy does not like is none. What the route does after a fault is
//! the caller's choice.

use std::{fmt::Write as _, sync::Arc};

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::{
    limits::{Growth, Guarded, TABLE_ELEMENTS_MAX},
    wasi::Denied,
};

/// How much of a backtrace is told: enough to find the place, whatever a recursion or a long name makes of it.
const FRAMES_MAX: usize = 8;
const FRAME_NAME_CHARS_MAX: usize = 80;

/// Why a call gave no decision. The instance is gone, the next call gets a new one.
#[derive(Debug, thiserror::Error)]
#[error("policy {policy}: {kind}: {detail}")]
pub struct Fault {
    /// `name@version` as the policy describes itself.
    pub policy: Arc<str>,
    pub kind: FaultKind,
    /// For the operator's log; it may hold text of the policy and is never for a client.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// It panicked, ran an instruction that may not be run, or called something it is not granted.
    Trap,
    /// It did not answer in time.
    Deadline,
    /// It wanted more memory than it may have, or there was no room for one more instance.
    Memory,
    /// It answered something that may not be: a field value with CR, too many tags, ...
    Refused,
}

impl FaultKind {
    /// A word for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Refused => "refused",
        }
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What ended a call that did not return, from wasmtime's error and what the store saw meanwhile.
pub(crate) fn classify(error: &wasmtime::Error, guarded: &Guarded) -> (FaultKind, String) {
    let trap = error.downcast_ref::<Trap>();
    let kind = if trap == Some(&Trap::Interrupt) {
        FaultKind::Deadline
    } else if guarded.denied.is_some() || error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        FaultKind::Memory
    } else if trap.is_some() || error.downcast_ref::<Denied>().is_some() {
        FaultKind::Trap
    } else {
        // Neither the guest's code nor an import: what came back could not be read (bad pointer, bad UTF-8,
        // more bytes than one call may pass).
        FaultKind::Refused
    };
    let mut detail = match (kind, guarded.denied) {
        (FaultKind::Deadline, _) => format!("no answer within {:?}", guarded.deadline),
        (FaultKind::Memory, Some(Growth::Memory)) => {
            format!("wanted more than {} bytes of memory", guarded.memory_bytes)
        }
        (FaultKind::Memory, Some(Growth::Table)) => {
            format!("wanted more than {TABLE_ELEMENTS_MAX} elements in a table")
        }
        (FaultKind::Memory | FaultKind::Trap | FaultKind::Refused, _) => error.root_cause().to_string(),
    };
    let said = guarded.said();
    if !said.is_empty() {
        detail.push_str("; it wrote: ");
        detail.push_str(&said);
    }
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        append_frames(&mut detail, backtrace);
    }
    (kind, detail)
}

/// Where the guest was, the innermost function first, on the same line.
fn append_frames(detail: &mut String, backtrace: &WasmBacktrace) {
    let frames = backtrace.frames();
    let mut introduction = "; in ";
    for frame in frames.iter().take(FRAMES_MAX) {
        detail.push_str(introduction);
        introduction = " < ";
        match frame.func_name() {
            // Names are the guest's, as long as it likes and of whatever characters.
            Some(name) => {
                let shown = name.chars().take(FRAME_NAME_CHARS_MAX);
                detail.extend(shown.map(|c| if c.is_control() { ' ' } else { c }));
            }
            // What is stripped of names can still be found: `wasm-tools print` counts its functions too.
            None => {
                let _ = write!(detail, "function {}", frame.func_index());
            }
        }
    }
    if frames.len() > FRAMES_MAX {
        let _ = write!(detail, " < {} more", frames.len() - FRAMES_MAX);
    }
}
