//! The hierarchical wheel: timers by deadline, with creation and cancellation in constant time.
//!
//! Nine levels of 64 slots; a slot of level 0 is 2^14 ns (16 µs) wide, a slot of the next level as
//! wide as the whole level below, so the nine levels reach beyond `u64` nanoseconds and no deadline
//! needs special care. An entry sits on the level of the highest digit in which its tick differs
//! from the wheel's, and moves down when the wheel reaches its slot. Each entry keeps its exact
//! deadline: ticks decide where it is looked for, never when it fires.
//!
//! Pure: the clock is an argument, and firing returns values for the caller to wake.

use super::clock::Nanos;

/// Log2 of the width of a slot of level 0, in nanoseconds.
const TICK_BITS: u32 = 14;
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
/// Digits of a tick: 64 - 14 bits, in digits of six.
const LEVELS: usize = 9;
const NIL: u32 = u32::MAX;

/// An armed timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerKey(u32);

/// Small, so that a hundred thousand of them stay near: 32 bytes with the value of a runtime.
#[derive(Debug)]
struct Entry<T> {
    deadline: Nanos,
    /// The next entry of the slot; of a vacant entry, the next vacant one.
    next: u32,
    /// The entry before; for the first of its slot, `FIRST` and the place of the slot; `FIRED` when
    /// it is in no slot.
    prev: u32,
    value: T,
}

/// Set in `prev` of the first entry of a slot; so there are less than 2^31 timers.
const FIRST: u32 = 1 << 31;
const FIRED: u32 = u32::MAX;

/// Timers by deadline, each with a value that its firing hands out.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    entries: Vec<Entry<T>>,
    /// The first vacant entry.
    vacant: u32,
    heads: Box<[u32; LEVELS * SLOTS]>,
    /// A bit for each slot that is not empty, by level.
    occupied: [u64; LEVELS],
    /// The tick up to which the wheel has turned; nothing fires before its deadline for it.
    tick: u64,
    armed: usize,
}

impl<T: Default> Wheel<T> {
    /// A wheel that has turned to `now` already.
    pub(crate) fn starting(now: Nanos) -> Self {
        Self {
            entries: Vec::new(),
            vacant: NIL,
            heads: Box::new([NIL; LEVELS * SLOTS]),
            occupied: [0; LEVELS],
            tick: now >> TICK_BITS,
            armed: 0,
        }
    }

    /// Timers that are armed and have not fired.
    pub(crate) fn armed(&self) -> usize {
        self.armed
    }

    /// Arms a timer. A deadline in the past fires at the next turn.
    pub(crate) fn insert(&mut self, deadline: Nanos, value: T) -> TimerKey {
        let key = self.vacant;
        let place = self.place_of(deadline);
        let next = self.heads[place];
        let entry = Entry { deadline, next, prev: FIRST | place as u32, value };
        let key = match self.entries.get_mut(key as usize) {
            Some(vacant) => {
                self.vacant = vacant.next;
                *vacant = entry;
                key
            }
            None => {
                let key = u32::try_from(self.entries.len()).unwrap_or(NIL);
                assert!(key < FIRST, "fewer than 2^31 timers");
                self.entries.push(entry);
                key
            }
        };
        self.lead(key, place, next);
        self.armed += 1;
        TimerKey(key)
    }

    /// Whether the timer has fired; it must still be removed.
    pub(crate) fn has_fired(&self, key: TimerKey) -> bool {
        self.entries[key.0 as usize].prev == FIRED
    }

    /// The value of an armed timer, to be replaced by its owner.
    pub(crate) fn value_mut(&mut self, key: TimerKey) -> &mut T {
        &mut self.entries[key.0 as usize].value
    }

    /// Disarms the timer, fired or not, and returns its value.
    pub(crate) fn remove(&mut self, key: TimerKey) -> T {
        if !self.has_fired(key) {
            self.unlink(key.0);
            self.armed -= 1;
        }
        let entry = &mut self.entries[key.0 as usize];
        entry.next = std::mem::replace(&mut self.vacant, key.0);
        std::mem::take(&mut entry.value)
    }

    /// Shows the value of each timer, and the default value of each vacant place.
    pub(crate) fn each_value(&mut self, mut see: impl FnMut(&mut T)) {
        self.entries.iter_mut().for_each(|entry| see(&mut entry.value));
    }

    /// When to turn next: the earliest deadline if it is near, else a time before it at which the
    /// wheel must move entries down.
    pub(crate) fn next_turn(&self) -> Option<Nanos> {
        if self.armed == 0 {
            return None;
        }
        let level = (0..LEVELS).find(|level| self.occupied[*level] != 0)?;
        let slot = self.first_slot(level);
        if level > 0 {
            return Some(self.slot_start(level, slot) << TICK_BITS);
        }
        self.slot(slot).map(|key| self.entries[key as usize].deadline).min()
    }

    /// Turns to `now`, and hands out the value of each timer whose deadline has come, in order of
    /// slots; within a slot of 16 µs in no particular order.
    pub(crate) fn turn(&mut self, now: Nanos, mut fire: impl FnMut(T)) {
        let target = now >> TICK_BITS;
        while let Some(level) = (0..LEVELS).find(|level| self.occupied[*level] != 0) {
            let slot = self.first_slot(level);
            let start = self.slot_start(level, slot);
            if start > target {
                break;
            }
            self.tick = self.tick.max(start);
            if level == 0 {
                if !self.fire_slot(slot, now, &mut fire) && start == target {
                    break;
                }
            } else {
                self.cascade(level, slot);
            }
        }
        self.tick = self.tick.max(target);
    }

    /// Fires what is due in a slot of level 0; `false` when something stays that is not.
    fn fire_slot(&mut self, slot: usize, now: Nanos, fire: &mut impl FnMut(T)) -> bool {
        let mut key = self.heads[slot];
        let mut emptied = true;
        while key != NIL {
            let next = self.entries[key as usize].next;
            if self.entries[key as usize].deadline <= now {
                self.unlink(key);
                self.armed -= 1;
                fire(std::mem::take(&mut self.entries[key as usize].value));
            } else {
                emptied = false;
            }
            key = next;
        }
        emptied
    }

    /// Moves the entries of a slot to lower levels, whose range the wheel has reached.
    fn cascade(&mut self, level: usize, slot: usize) {
        let mut key = std::mem::replace(&mut self.heads[level * SLOTS + slot], NIL);
        self.occupied[level] &= !(1 << slot);
        while key != NIL {
            let next = self.entries[key as usize].next;
            self.link(key);
            key = next;
        }
    }

    /// The level and slot for a deadline, as an index to `heads`.
    fn place_of(&self, deadline: Nanos) -> usize {
        let tick = (deadline >> TICK_BITS).max(self.tick);
        let differing = (tick ^ self.tick) | 1;
        let level = (u64::BITS - 1 - differing.leading_zeros()) / LEVEL_BITS;
        let slot = (tick >> (level * LEVEL_BITS)) as usize % SLOTS;
        level as usize * SLOTS + slot
    }

    /// Puts an entry, whose links say so already, before `next` at the head of a slot.
    fn lead(&mut self, key: u32, place: usize, next: u32) {
        self.heads[place] = key;
        self.occupied[place / SLOTS] |= 1 << (place % SLOTS);
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.prev = key;
        }
    }

    fn link(&mut self, key: u32) {
        let place = self.place_of(self.entries[key as usize].deadline);
        let next = self.heads[place];
        let entry = &mut self.entries[key as usize];
        (entry.prev, entry.next) = (FIRST | place as u32, next);
        self.lead(key, place, next);
    }

    fn unlink(&mut self, key: u32) {
        let entry = &mut self.entries[key as usize];
        let (prev, next) = (std::mem::replace(&mut entry.prev, FIRED), entry.next);
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.prev = prev;
        }
        if prev & FIRST == 0 {
            self.entries[prev as usize].next = next;
            return;
        }
        let place = (prev & !FIRST) as usize;
        self.heads[place] = next;
        if next == NIL {
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        }
    }

    /// The first occupied slot of a level. Slots of a level never lie behind the wheel's tick, and
    /// never wrap: what is farther away is on a higher level.
    fn first_slot(&self, level: usize) -> usize {
        self.occupied[level].trailing_zeros() as usize
    }

    /// The first tick of a slot.
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * LEVEL_BITS;
        let above = shift + LEVEL_BITS;
        let prefix = if above >= u64::BITS { 0 } else { self.tick >> above << above };
        prefix | (slot as u64) << shift
    }

    fn slot(&self, place: usize) -> impl Iterator<Item = u32> {
        let first = Some(self.heads[place]).filter(|key| *key != NIL);
        std::iter::successors(first, |key| {
            Some(self.entries[*key as usize].next).filter(|next| *next != NIL)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Turn(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let delay = prop_oneof![0..100_000_u64, 0..1_u64 << 30, 0..1_u64 << 44, any::<u64>()];
        let step = prop_oneof![
            4 => delay.prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::Remove),
            3 => prop_oneof![0..40_000_u64, 0..1_u64 << 24, 0..1_u64 << 40].prop_map(Step::Turn),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        /// Against a map that is obviously right: the same timers fire at the same turns, and the
        /// proposed turn is never after the earliest deadline, and always makes progress.
        #[test]
        fn the_wheel_agrees_with_a_map(steps in steps()) {
            let mut wheel = Wheel::<u64>::starting(0);
            let mut map = BTreeMap::new();
            let (mut now, mut id) = (0_u64, 0_u64);
            for step in steps {
                match step {
                    Step::Insert(delay) => {
                        id += 1;
                        let deadline = now.saturating_add(delay);
                        map.insert(id, (deadline, wheel.insert(deadline, id)));
                    }
                    Step::Remove(nth) if !map.is_empty() => {
                        let id = *map.keys().nth(nth % map.len()).unwrap();
                        let (_, key) = map.remove(&id).unwrap();
                        prop_assert_eq!(wheel.remove(key), id);
                    }
                    Step::Remove(_) => {}
                    Step::Turn(by) => {
                        now = now.saturating_add(by);
                        let mut fired = Vec::new();
                        wheel.turn(now, |id| fired.push(id));
                        fired.sort_unstable();
                        let due: Vec<_> = map.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| *id).collect();
                        prop_assert_eq!(&fired, &due);
                        for id in due {
                            let (_, key) = map.remove(&id).unwrap();
                            prop_assert!(wheel.has_fired(key));
                            wheel.remove(key);
                        }
                    }
                }
                let earliest = map.values().map(|(at, _)| *at).min();
                prop_assert_eq!(wheel.next_turn().is_some(), earliest.is_some());
                prop_assert_eq!(wheel.armed(), map.len());
                if let (Some(turn), Some(earliest)) = (wheel.next_turn(), earliest) {
                    prop_assert!(turn <= earliest.max(now));
                }
            }
        }
    }

    #[test]
    fn following_the_proposed_turns_reaches_a_far_deadline_in_a_few_steps() {
        let mut wheel = Wheel::<u64>::starting(0);
        wheel.insert(u64::MAX - 1, 7);
        let (mut fired, mut turns) = (0, 0);
        while let Some(turn) = wheel.next_turn() {
            wheel.turn(turn, |value| fired = value);
            turns += 1;
            assert!(turns <= LEVELS + 1, "every turn moves the entry down");
        }
        assert_eq!(fired, 7);
    }
}
