//! The intrusive core: one allocation per task, owner-only cells beside one shared word.
//!
//! ```text
//!            schedule (owner)                        complete
//!   Idle ─────────────► ready queue ─► Running ─┬──────────────► Done ── take / clear ──► empty
//!    ▲   wake_by_ref (foreign) ─► inbox ─► drain│                  ▲
//!    └──────────────────────────────────────────┘ Pending          │
//!                     aborted, or the runtime ends ── cancel ──────┘
//! ```
//!
//! Every arrow but `wake_by_ref` is taken by the owner's thread. No locked instruction is on the
//! owner's path unless a waker is cloned or dropped. A task may sit in both queues; the second
//! entry is harmless.
//!
//! # Who may touch which field, and when
//!
//! The owner is the thread of the engine. A foreign thread is any other thread, and the owner's own
//! thread while another runtime or none is running there.
//!
//! | field of a task | the owner | a foreign thread |
//! |---|---|---|
//! | `word` | any time | any time, through a reference that the word counts |
//! | `next` | between `take_all` and the batch's end | while it pushes: `QUEUED` was clear, and it set it |
//! | `vtable`, `shared`, `hidden` | reads, any time | reads, while it holds a counted reference |
//! | `owners` | any time; zero means that no owner is left | never |
//! | `key` | from `admit` to `finish` | never |
//! | `phase` | writes in `dispatch`, `cancel`, `finish`; reads any time | never |
//! | `ready`, `after` | through the ready queue | never |
//! | `joined`, `joiner` | the join handle while it lives, `finish` once | never |
//! | `origin` | any time until the memory is freed | drops it, when it frees the memory |
//! | future (stage) | while the phase is `Running`, set by the caller of the vtable | never |
//! | output (stage) | `take` and `clear`, while the phase is `Done` | never |
//! | the memory | frees it with the last counted reference | the same; a slot goes home through the inbox |
//!
//! # Where foreign code runs
//!
//! Each call below is made when the task, the table, the queues and the counts are whole, under no
//! borrow, and through `contain`: it may spawn, abort, wake, join, drop handles and start timers.
//!
//! | foreign code | called from | the task is then |
//! |---|---|---|
//! | the poll of a future | `dispatch` | `Running`, in the table |
//! | the destructor of a future | the end of a poll, `end_early` | `Running`, in the table |
//! | the destructor of an output | `finish`, `RawJoin::drop`, a poll whose future panics on drop | `Done`, or `Running` |
//! | the destructor of a payload | `end_early` | `Running`, in the table |
//! | the waker of a joiner: wake and drop | `finish`, `RawJoin` | `Done`, out of the table |
//! | the clone of a waker | `WakerSlot::new` | as the poll that registers has it |
//! | events of `tracing` | the ends of `admit` and `finish` | admitted, or `Done` |

mod cell;
mod context;
mod engine;
mod header;
mod join;
mod ready;
mod refs;
mod schedule;
mod shared;
mod slot;
mod slots;
mod table;
mod wake;

pub(crate) use cell::layout_of;
pub(crate) use engine::Engine;
pub(crate) use join::RawJoin;
pub(crate) use slot::WakerSlot;
pub(crate) use slots::{SLOT_ALIGN, Slot, slot_bytes};
pub(crate) use wake::RawAbort;
