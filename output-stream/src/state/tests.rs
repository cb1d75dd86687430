//! The state against a model that remembers everything: any order of reads, pushes, attaches,
//! drops, stalls, seals and ends keeps the accounts.

use super::*;
use crate::config::Retain;
use crate::event::Event;
use crate::policy::OnStall;
use proptest::prelude::*;

const WINDOW: u64 = 12 * 1024;
const STALL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Read(usize, usize),
    Attach(u8, u16, u8),
    Detach(usize),
    Wait,
    Seal,
    End,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        40 => (1usize..9_000).prop_map(Step::Push),
        5 => (1usize..5).prop_map(Step::Push),
        30 => (any::<usize>(), 1usize..6).prop_map(|(who, n)| Step::Read(who, n)),
        10 => (0u8..5, any::<u16>(), 0u8..5).prop_map(|(at, n, policy)| Step::Attach(at, n, policy)),
        4 => any::<usize>().prop_map(Step::Detach),
        5 => Just(Step::Wait),
        1 => Just(Step::Seal),
        1 => Just(Step::End),
    ];
    prop::collection::vec(step, 1..150)
}

fn byte_at(offset: u64) -> u8 {
    if offset % 53 == 7 { b'\n' } else { (offset / 3) as u8 | 128 }
}

/// What one subscriber saw.
struct Reader {
    id: Id,
    policy: Policy,
    at: u64,
    from: u64,
    lost: u64,
    is_over: bool,
}

struct World {
    state: State,
    room: BytesMut,
    now: Instant,
    readers: Vec<Reader>,
    retain: Retain,
    segment: u64,
    /// What the history held when it was sealed: readers of it keep what they had yet to read.
    sealed: Option<u64>,
}

impl World {
    fn new(retain: Retain) -> Self {
        let config = Config::builder().retain(retain).window(WINDOW).build().unwrap();
        let segment = config.limits.segment as u64;
        let mut state = State::new(&config);
        let room = state.room();
        Self {
            state,
            room,
            now: Instant::now(),
            readers: Vec::new(),
            retain,
            segment,
            sealed: None,
        }
    }

    fn push(&mut self, n: usize) {
        if self.state.end.is_some() {
            return;
        }
        let (admit, _) = self.state.admit(self.now, true);
        match admit {
            Admit::Go => {}
            Admit::Yield => panic!("it was told that it yielded"),
            Admit::Blocked { until } => {
                let holder = self.readers.iter().find(|r| !r.is_over && r.policy.blocks());
                assert!(holder.is_some(), "nobody asks the source to wait");
                assert!(until.is_none_or(|until| until > self.now));
                return;
            }
        }
        for _ in 0..n.min(self.room.capacity()) {
            let offset = self.state.ingested() + self.room.len() as u64;
            self.room.extend_from_slice(&[byte_at(offset)]);
        }
        let _ = self.state.push(&mut self.room);
    }

    fn attach(&mut self, position: u8, n: u16, policy: u8) {
        let end = self.state.ingested();
        let position = match position {
            0 => Position::Start,
            1 => Position::Live,
            2 => Position::Offset(u64::from(n) % (end + 5_000)),
            3 => Position::LastBytes(u64::from(n)),
            _ => Position::LastLines(usize::from(n % 300)),
        };
        let policy = match policy {
            0 => Policy::Block,
            1 => Policy::DropOldest,
            2 => Policy::DropNewest,
            3 => Policy::block_for(STALL, OnStall::Lossy),
            _ => Policy::block_for(STALL, OnStall::Detach),
        };
        let oldest = self.state.log.oldest();
        let id = self.state.attach(position, policy).unwrap();
        if let Position::LastLines(lines) = position {
            let (end, history) = self.state.share_history();
            let behind = crate::log::bytes_of_last_lines(&history, lines);
            // The lines are counted without the lock: the source may go on meanwhile.
            for _ in 0..(if policy.blocks() { 0 } else { n % 23 }) {
                self.push(3_000);
            }
            let _ = self.state.seek(id, end - behind);
        }
        let from = self.state.stats_of(id).attached_at;
        self.check_start(position, from, oldest, end);
        self.readers.push(Reader { id, policy, at: from, from, lost: 0, is_over: false });
    }

    /// A start in the past reaches at least as far back as the retention promises.
    fn check_start(&self, position: Position, from: u64, oldest: u64, end: u64) {
        if let (Retain::Bytes(kept), Position::LastBytes(n), false) =
            (self.retain, position, self.sealed.is_some())
        {
            assert!(from <= end - n.min(kept).min(end), "{from} of {end}");
            assert!(from >= end.saturating_sub(n));
        }
        if let Position::LastLines(n) = position {
            let lines = (from..end).filter(|at| byte_at(*at) == b'\n').count();
            assert!(lines <= n);
            // Or it starts behind what left the log meanwhile.
            let is_all = from == oldest || from == self.state.log.first();
            assert!(lines == n || is_all, "{lines} of {n}");
        }
    }

    fn read(&mut self, who: usize, times: usize) {
        let count = self.readers.len();
        let Some(reader) = self.readers.get_mut(who % count.max(1)) else {
            return;
        };
        for _ in 0..times {
            let (taken, _) = self.state.read(reader.id);
            match taken {
                Taken::Event(Event::Data { offset, bytes }, _) => {
                    assert!(!reader.is_over && !bytes.is_empty());
                    assert_eq!(offset, reader.at, "contiguous");
                    let is_right = bytes.iter().zip(offset..).all(|(b, at)| *b == byte_at(at));
                    assert!(is_right, "the bytes at {offset}");
                    reader.at += bytes.len() as u64;
                }
                Taken::Event(Event::Gap { from, to }, _) => {
                    assert!(!reader.is_over && from == reader.at && to > from);
                    let was_past = from == reader.from;
                    assert!(was_past || reader.policy != Policy::Block, "a block reader lost");
                    reader.lost += to - from;
                    reader.at = to;
                }
                Taken::Event(Event::End(end), _) => {
                    assert!(!reader.is_over, "one end");
                    let all = self.state.ingested();
                    assert!(
                        reader.at >= all || matches!(end, End { reason: EndReason::Detached, .. }),
                        "end before data"
                    );
                    reader.is_over = true;
                }
                Taken::Empty => assert!(!reader.is_over && self.state.end.is_none()),
                Taken::Finished => assert!(reader.is_over),
            }
        }
    }

    fn check(&self) {
        let stats = self.state.stats(self.now);
        let share = if self.retain == Retain::Nothing { 3 } else { 15 };
        let with_waste = |bytes: u64| bytes * (share + 1) / share;
        let mut kept_alone = 0;
        for reader in &self.readers {
            let own = self.state.stats_of(reader.id);
            assert_eq!((own.position, own.lost), (reader.at, reader.lost));
            let sum = own.attached_at + own.delivered + own.lost + own.lag;
            let is_cut = own.policy == reader.policy
                && matches!(own.policy, Policy::BlockFor { then: OnStall::Detach, .. });
            assert!(sum == stats.ingested.max(own.attached_at) || is_cut, "{own:?}");
            let promised = WINDOW + self.sealed.unwrap_or(0);
            assert!(own.kept <= promised + 2 * 64 * 1024, "{own:?}");
            kept_alone += if own.kept > 0 { with_waste(own.kept) + 2 * self.segment } else { 0 };
        }
        let kept = match self.retain {
            Retain::Bytes(n) => n,
            Retain::All => stats.ingested,
            _ => 0,
        };
        // One segment straddles the floor, one the window, one is open, four wait for their last
        // slice; of the rest a part is unused. A seal keeps what readers have yet to read.
        let bound = with_waste(kept + WINDOW) + 7 * self.segment + kept_alone;
        if matches!(self.retain, Retain::Bytes(_) | Retain::Nothing | Retain::All) {
            assert!(stats.memory <= bound, "{} > {bound}", stats.memory);
            assert!(stats.memory <= stats.peak_memory, "{stats:?}");
        }
    }
}

fn retains() -> impl Strategy<Value = Retain> {
    prop_oneof![
        Just(Retain::Nothing),
        Just(Retain::All),
        (1u64..60_000).prop_map(Retain::Bytes),
        (1usize..20).prop_map(Retain::Chunks),
        (1usize..300).prop_map(Retain::Lines),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_accounts(retain in retains(), steps in steps()) {
        let mut world = World::new(retain);
        for step in steps {
            match step {
                Step::Push(n) => world.push(n),
                Step::Read(who, times) => world.read(who, times),
                Step::Attach(position, n, policy) => world.attach(position, n, policy),
                Step::Detach(who) if !world.readers.is_empty() => {
                    let reader = world.readers.swap_remove(who % world.readers.len());
                    let _ = world.state.detach(reader.id);
                }
                Step::Detach(_) => {}
                Step::Wait => world.now += STALL / 2,
                Step::Seal => {
                    let history = world.state.stats(world.now).retained;
                    world.sealed = world.sealed.max(Some(history));
                    let _ = world.state.seal();
                }
                Step::End if world.state.end.is_none() => {
                    let room = std::mem::take(&mut world.room);
                    let _ = world.state.finish(EndReason::Eof, room, world.now);
                }
                Step::End => {}
            }
            world.check();
        }
        let room = std::mem::take(&mut world.room);
        if world.state.end.is_none() {
            let _ = world.state.finish(EndReason::Eof, room, world.now);
        }
        for who in 0..world.readers.len() {
            world.read(who, 100_000);
            prop_assert!(world.readers[who].is_over);
        }
        world.check();
    }
}

#[test]
fn lines_are_counted_back_while_the_source_goes_on() {
    for policy in [1, 2] {
        let mut world = World::new(Retain::Bytes(4_000));
        for _ in 0..40 {
            world.push(3_000);
        }
        let first = world.state.log.first();
        // 22 reads come between the count and the place, and the front of the log goes.
        world.attach(4, 16 * 300 + 6, policy);
        assert!(world.state.log.first() > first, "nothing was evicted meanwhile");
        world.check();
        world.read(0, 1_000);
        assert!(world.readers[0].at == world.state.ingested() || world.readers[0].is_over);
    }
}

#[test]
fn a_blocked_pump_resumes_when_its_reader_leaves() {
    let mut world = World::new(Retain::Nothing);
    world.attach(0, 0, 0);
    let before = loop {
        let before = world.state.ingested();
        world.push(4_000);
        if world.state.ingested() == before {
            break before;
        }
    };
    assert!((WINDOW..=WINDOW + 3 * 4096).contains(&before), "{before}");
    let _ = world.state.detach(world.readers.pop().unwrap().id);
    world.push(4_000);
    assert!(world.state.ingested() > before);
}

#[test]
fn a_stalled_reader_is_let_go_and_a_slow_one_is_not() {
    let mut world = World::new(Retain::Nothing);
    world.attach(0, 0, 4);
    for _ in 0..20 {
        world.push(4_000);
    }
    for _ in 0..10 {
        world.now += STALL / 2 + Duration::from_secs(1);
        world.read(0, 1);
        world.push(4_000);
        world.push(4_000);
    }
    assert_eq!(world.readers[0].lost, 0, "it went on taking something");
    world.now += STALL;
    for _ in 0..20 {
        world.push(4_000);
    }
    world.read(0, 2);
    assert!(world.readers[0].is_over && world.readers[0].lost > 0, "detached with an exact gap");
}
