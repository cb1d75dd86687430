//! Forks, ends and reused pids at any moment of a kill, as the generator of the property test likes.

use super::Step;
use super::fake::{CALLER, FakeTable};
use super::races::{MARK, ROOT, engine, marked};
use crate::id::Pid;
use proptest::prelude::*;
use std::time::Instant;

#[derive(Debug, Clone)]
enum Event {
    Fork(u8),
    End(u8),
    Reuse(u8),
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let event = prop_oneof![
        any::<u8>().prop_map(Event::Fork),
        any::<u8>().prop_map(Event::End),
        any::<u8>().prop_map(Event::Reuse),
    ];
    prop::collection::vec((0usize..60, event), 0..40)
}

proptest! {
    /// Whatever happens between any two steps: no member survives, and nobody else is signalled.
    #[test]
    fn members_die_and_others_are_not_signalled(parents in prop::collection::vec(any::<u8>(), 1..30), events in events()) {
        let table = FakeTable::new();
        table.with(|world| {
            world.spawn(ROOT, CALLER).mark = Some(MARK);
            for (n, parent) in parents.iter().enumerate() {
                let parent = ROOT + u32::from(*parent) % (n as u32 + 1);
                world.spawn(ROOT + 1 + n as u32, parent);
            }
        });
        let mut engine = engine(&table, marked(&table));
        let mut innocent = Vec::new();
        let mut now = Instant::now();
        let mut next_pid = 5000;
        for step in 0.. {
            for (_, event) in events.iter().filter(|(at, _)| *at == step) {
                let (Event::Fork(n) | Event::End(n) | Event::Reuse(n)) = event;
                let pid = ROOT + u32::from(*n) % (parents.len() as u32 + 1);
                table.with(|world| match event {
                    Event::Fork(_) => {
                        world.fork(next_pid, pid);
                        next_pid += 1;
                    }
                    Event::End(_) if world.procs.get(&pid).is_some_and(|p| p.mark.is_some()) => world.end(pid),
                    Event::Reuse(_) if !world.procs.contains_key(&pid) => {
                        let process = world.spawn(pid, 1);
                        innocent.push((pid, process.start));
                    }
                    _ => {}
                });
            }
            match engine.step(now) {
                Step::Again => {}
                Step::Wait(until) => now = until,
                Step::Done => break,
            }
        }
        drop(engine);
        let left: Vec<Pid> = table.with(|world| {
            let members = world.procs.iter().filter(|(_, p)| p.mark == Some(MARK) && !p.dead);
            members.map(|(pid, _)| *pid).collect()
        });
        prop_assert!(left.is_empty(), "{left:?} survive");
        for (pid, start) in innocent {
            prop_assert_eq!(table.signals_to(pid, start), vec![]);
        }
    }
}
