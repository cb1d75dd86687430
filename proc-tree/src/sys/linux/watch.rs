//! The supervisor: the process between the caller and a tree.
//!
//! It is a subreaper: whoever becomes an orphan in the tree becomes its child. It ends when it has no
//! children left, so its end is the end of the tree, and it kills all of them when it is told to, or when
//! the socket to the caller closes because the caller is gone.
//!
//! ```text
//!   caller ──socket── supervisor ── root ── …
//!                          └────── orphans of the tree
//! ```
//!
//! A kill strikes the group of the root and its own children: numbers that no other process can have,
//! because nobody but the supervisor waits for them. Whoever outlives that for a while forks faster than
//! its ancestors die. Then every descendant is stopped first, each held by a pidfd and found below a parent
//! that is held as well, until a pass finds nobody new; and then all are killed.

use super::direct::{self, RawPid};
use super::kin::{Family, Kernel, SIGKILL};

/// What the caller tells the supervisor.
pub(crate) const KILL: u8 = b'K';
/// Live on without the caller.
pub(crate) const LET_LIVE: u8 = b'L';

/// The first message to the caller, of this one byte: the supervisor has left the memory of the caller and
/// waits for orders.
pub(crate) const READY: u8 = b'R';
/// A message to the caller: a tag, four bytes and eight. How the root has ended.
pub(crate) const EXITED: u8 = b'X';
/// The last message: how many members the supervisor has killed.
pub(crate) const KILLED: u8 = b'D';
pub(crate) const MESSAGE: usize = 13;

/// The name of the supervisor in `ps`: 15 bytes and a NUL.
const NAME: &[u8; 16] = b"lastout-superv\0\0";

const SIGCHLD: u32 = 17;
const SIGSTOP: i32 = 19;

/// How long the children are struck without stopping anybody, in milliseconds. Most trees are gone by then.
const PLAIN: u64 = 20;
/// How long one round of stopping may go on finding new members, in milliseconds.
const STOPPING: u64 = 200;
/// Between two strikes, in milliseconds: longer and longer while nobody ends.
const PATIENCE: (i32, i32) = (2, 64);
/// How many members one round stops and kills; the next round takes the rest.
const MOST: usize = 1 << 16;

/// What a supervisor is told at its start. All signals are blocked, and SIGCHLD has its default action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    /// Its end of the socket to the caller.
    pub(crate) control: i32,
    /// The file that kills the leaf; negative when there is none.
    pub(crate) kill_file: i32,
    /// The directory of the leaf with a NUL, removed when the caller is gone.
    pub(crate) leaf: Option<&'a [u8]>,
    pub(crate) root: RawPid,
    /// It is the first process of a PID namespace: its end is the end of all others.
    pub(crate) namespace: bool,
}

/// Supervises until nobody is left.
pub(crate) fn watch(order: Order<'_>) -> ! {
    direct::set_name(NAME);
    // An exec by a caller with the rights of another user has undone it.
    direct::go_on_without_parent();
    direct::go_to_root();
    direct::raise_descriptors();
    direct::send(order.control, &[READY]);
    Watch {
        order,
        signals: direct::watch_children(SIGCHLD),
        root_is_reaped: false,
        kills: false,
        let_live: false,
        killed: 0,
        struck_since: None,
        patience: PATIENCE.0,
        memory: None,
    }
    .run()
}

struct Watch<'a> {
    order: Order<'a>,
    signals: i32,
    root_is_reaped: bool,
    kills: bool,
    /// The caller has let the tree live on.
    let_live: bool,
    /// Who has died of SIGKILL since it was told to kill. Orphans fall to it, so that is nearly all.
    killed: u64,
    struck_since: Option<u64>,
    patience: i32,
    memory: Option<&'static mut [i32]>,
}

impl Watch<'_> {
    fn run(&mut self) -> ! {
        loop {
            if !self.reap() {
                self.finish();
            }
            if self.kills {
                self.strike();
            }
            let timeout = match (self.kills, self.signals) {
                (true, _) => self.patience,
                (false, ..0) => 50,
                (false, _) => -1,
            };
            let (heard, ended) = direct::poll(self.order.control, self.signals, timeout);
            if heard {
                self.hear();
            }
            if ended {
                direct::read(self.signals, &mut [0; 128]);
            }
        }
    }

    /// Waits for every child that has ended; whether any child is left.
    fn reap(&mut self) -> bool {
        self.patience = self.patience.wrapping_mul(2).min(PATIENCE.1);
        loop {
            let (pid, status) = direct::reap();
            if pid <= 0 {
                return pid == 0;
            }
            self.patience = PATIENCE.0;
            self.killed =
                self.killed.wrapping_add(u64::from(self.kills && status & 0x7f == SIGKILL));
            if pid == self.order.root {
                self.root_is_reaped = true;
                tell(self.order.control, EXITED, u64::from(status as u32));
            }
        }
    }

    /// Takes what the caller said; a socket that is closed means that it is gone.
    fn hear(&mut self) {
        let mut said = [0; 1];
        match (direct::read(self.order.control, &mut said), said[0]) {
            (1, KILL) => self.kills = true,
            (1, LET_LIVE) => self.let_live = true,
            (1, _) => {}
            _ => {
                // There is nothing more to poll.
                self.order.control = -1;
                self.kills |= !self.let_live;
            }
        }
    }

    fn strike(&mut self) {
        if self.order.namespace {
            self.finish();
        }
        if self.order.kill_file >= 0 {
            // Without this file the rest does it.
            direct::write(self.order.kill_file, b"1");
        }
        let root = self.order.root;
        // The leader is our unreaped child, so its number is its own, and so is the group that it leads.
        if !self.root_is_reaped && root > 1 && direct::group_of(root) == root {
            direct::kill(root.wrapping_neg(), SIGKILL);
        }
        let now = direct::now();
        let since = *self.struck_since.get_or_insert(now);
        if self.memory.is_none() {
            self.memory = direct::memory(3 * MOST);
        }
        let Some(memory) = &mut self.memory else { return };
        let Some((pids, rest)) = memory.split_at_mut_checked(MOST) else { return };
        let Some((holds, list)) = rest.split_at_mut_checked(MOST) else { return };
        match now.wrapping_sub(since) < PLAIN {
            true => strike_children(&mut Kernel, list),
            false => stop_and_kill(&mut Kernel, Table { pids, holds, list }),
        }
    }

    /// Nobody is left, or the kernel kills them with us.
    fn finish(&self) -> ! {
        if let Some(leaf) = self.order.leaf.filter(|_| self.order.control < 0) {
            direct::remove_directory(leaf);
        }
        tell(self.order.control, KILLED, self.killed);
        direct::exit(0)
    }
}

fn tell(control: i32, tag: u8, value: u64) {
    let mut message = [0; MESSAGE];
    let parts = core::iter::once(tag).chain([0; 4]).chain(value.to_ne_bytes());
    message.iter_mut().zip(parts).for_each(|(slot, byte)| *slot = byte);
    direct::send(control, &message);
}

/// Kills every child there is now. Their children become ours.
fn strike_children(family: &mut impl Family, list: &mut [RawPid]) {
    let count = family.children(None, list);
    for pid in list.iter().take(count) {
        family.kill_child(*pid);
    }
}

/// Members that are held and stopped, and room for a list of children.
struct Table<'a> {
    pids: &'a mut [RawPid],
    holds: &'a mut [i32],
    list: &'a mut [RawPid],
}

/// Stops every descendant until a pass finds nobody new, and kills all of them.
fn stop_and_kill(family: &mut impl Family, table: Table<'_>) {
    let Table { pids, holds, list } = table;
    let until = family.now().wrapping_add(STOPPING);
    let mut count = 0;
    loop {
        let before = count;
        let mut place = 0;
        let mut parent = None;
        loop {
            let found = family.children(parent.map(|(pid, _)| pid), list);
            for child in list.iter().take(found) {
                let is_known = pids.iter().take(count).any(|known| known == child);
                let slot = pids.get_mut(count).zip(holds.get_mut(count));
                let Some((pid, hold)) = slot.filter(|_| !is_known) else { continue };
                if let Some(held) = stop(family, parent, *child) {
                    (*pid, *hold) = (*child, held);
                    count = count.wrapping_add(1);
                }
            }
            let next = pids.get(place).zip(holds.get(place)).filter(|_| place < count);
            let Some((pid, hold)) = next else { break };
            parent = Some((*pid, *hold));
            place = place.wrapping_add(1);
        }
        if count == before || family.now() >= until {
            break;
        }
    }
    for hold in holds.iter().take(count) {
        family.signal(*hold, SIGKILL);
        family.release(*hold);
    }
}

/// Holds and stops a child of the supervisor, or of a parent that is held.
fn stop(family: &mut impl Family, parent: Option<(RawPid, i32)>, child: RawPid) -> Option<i32> {
    let held = family.hold(child);
    if held < 0 {
        // No descriptor is left: this child dies unstopped, and its children become ours.
        if parent.is_none() {
            family.kill_child(child);
        }
        return None;
    }
    // Our own child has its number until we wait for it. Below that, both are alive after the look, so
    // that both numbers meant them when the parent was read.
    let is_member = parent.is_none_or(|(pid, hold)| {
        family.parent(child) == pid && !family.is_over(hold) && !family.is_over(held)
    });
    if !is_member {
        family.release(held);
        return None;
    }
    family.signal(held, SIGSTOP);
    Some(held)
}

#[cfg(test)]
mod tests;
