//! The state machine against a world that answers in any order, late, wrongly or not at all.

use super::*;
use crate::report::EndReason;
use crate::request::LeaseOptions;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// What the world still owes the pool.
#[derive(Debug, Default)]
struct World {
    launching: Vec<SlotId>,
    making: Vec<(SlotId, UnitId)>,
    ending: Vec<(SlotId, UnitId, bool)>,
    closing: Vec<SlotId>,
    out: Vec<Place>,
    /// Pages that holders of contexts opened.
    opened: Vec<Place>,
    /// Pages that pages opened.
    popups: Vec<(SlotId, UnitId, String)>,
    /// What stands on the browsers, whatever the pool believes: contexts, and the pages that the pool made in each.
    contexts: BTreeMap<(SlotId, UnitId), usize>,
    /// Whether browsers refuse what was asked for with options.
    refuses_options: bool,
    waiting: Vec<(WaiterId, u8, u8)>,
    granted: BTreeMap<WaiterId, usize>,
    refused: BTreeSet<WaiterId>,
    /// Holders that asked for a page and got an answer.
    told: BTreeSet<WaiterId>,
    order: Vec<WaiterId>,
}

/// A step of the storm; the numbers choose among what is possible.
#[derive(Debug, Clone)]
enum Do {
    Ask { tenant: u8, kind: u8 },
    Cancel(usize),
    Launch { which: usize, well: bool },
    Make { which: usize, well: bool, hung: bool },
    End { which: usize, well: bool },
    Close(usize),
    Release { which: usize, how: u8 },
    Lose(usize),
    Crash(usize),
    Measure { which: usize, memory: u64 },
    Pressure(bool),
    Wait(u64),
    OpenPage(usize),
    ClosePage(usize),
    Popup(usize),
    PopupGone(usize),
}

fn steps() -> impl Strategy<Value = Do> {
    let n = 0..1000_usize;
    prop_oneof![
        6 => (0..3_u8, 0..7_u8).prop_map(|(tenant, kind)| Do::Ask { tenant, kind }),
        2 => n.clone().prop_map(Do::Cancel),
        4 => (n.clone(), prop::bool::weighted(0.8)).prop_map(|(which, well)| Do::Launch { which, well }),
        6 => (n.clone(), prop::bool::weighted(0.9), prop::bool::weighted(0.2))
            .prop_map(|(which, well, hung)| Do::Make { which, well, hung }),
        6 => (n.clone(), prop::bool::weighted(0.9)).prop_map(|(which, well)| Do::End { which, well }),
        3 => n.clone().prop_map(Do::Close),
        6 => (n.clone(), 0..4_u8).prop_map(|(which, how)| Do::Release { which, how }),
        1 => n.clone().prop_map(Do::Lose),
        1 => n.clone().prop_map(Do::Crash),
        1 => (n.clone(), 0..2000_u64).prop_map(|(which, memory)| Do::Measure { which, memory }),
        1 => any::<bool>().prop_map(Do::Pressure),
        2 => (0..40_u64).prop_map(Do::Wait),
        1 => n.clone().prop_map(Do::OpenPage),
        1 => n.clone().prop_map(Do::ClosePage),
        2 => n.clone().prop_map(Do::Popup),
        1 => n.prop_map(Do::PopupGone),
    ]
}

fn configs() -> impl Strategy<Value = PoolConfig> {
    let numbers = (1..4_usize, 1..4_usize, 1..5_usize, 0..6_usize, 0..3_usize, 0..4_usize);
    let limits = (
        prop::option::of(1..4_u64),
        prop::option::of(5..60_u64),
        prop::option::of(5..60_u64),
        prop::option::of(5..60_u64),
        prop::option::of(1..60_u64),
        1..4_u32,
        0..3_u8,
    );
    (numbers, limits).prop_map(|(n, l)| {
        let secs = |s: Option<u64>| s.map(Duration::from_secs);
        PoolConfig {
            max_browsers: n.0,
            max_contexts: n.1,
            max_pages: n.2,
            max_queue: n.3,
            warm_browsers: n.4.min(n.0),
            spares: n.5.min(n.0 * n.1),
            max_leases: l.0,
            idle_timeout: secs(l.1),
            max_age: secs(l.2),
            retire_limit: secs(l.3),
            max_lease: secs(l.4),
            max_errors: l.5,
            max_memory: Some(1000),
            isolation: [Isolation::Context, Isolation::Page, Isolation::Browser][usize::from(l.6)],
            ..PoolConfig::default()
        }
    })
}

fn spec(kind: u8) -> (UnitSpec, Arc<LaunchProfile>) {
    let other = Arc::new(LaunchProfile::new().proxy("other"));
    match kind {
        0 => (UnitSpec::Page(Default::default()), Arc::default()),
        1 => (UnitSpec::Context(Default::default()), Arc::default()),
        2 => (UnitSpec::SharedPage, Arc::default()),
        3 => (UnitSpec::Browser { page: None }, Arc::default()),
        5 => (UnitSpec::Context(LeaseOptions::new().downloads().context), Arc::default()),
        6 => (UnitSpec::Browser { page: None }, other),
        _ => (UnitSpec::Page(Default::default()), other),
    }
}

impl World {
    /// Contexts end with all their pages; how many pages of the last were made.
    fn end(&mut self, which: impl Fn((SlotId, UnitId)) -> bool) -> Option<usize> {
        self.popups.retain(|(slot, unit, _)| !which((*slot, *unit)));
        let ended: Vec<_> = self.contexts.keys().copied().filter(|at| which(*at)).collect();
        ended.iter().filter_map(|at| self.contexts.remove(at)).last()
    }
}

struct Sim {
    state: State,
    world: World,
    now: Instant,
    config: PoolConfig,
}

impl Sim {
    fn new(config: PoolConfig) -> Self {
        let state = State::new(Arc::new(config.clone()));
        let mut sim = Self { state, world: World::default(), now: Instant::now(), config };
        sim.tell(Event::Tick);
        sim
    }

    fn tell(&mut self, event: Event) {
        let mut out = Vec::new();
        self.state.step(event, self.now, &mut out);
        for action in out {
            self.act(action);
        }
        self.check();
    }

    fn act(&mut self, action: Action) {
        let world = &mut self.world;
        match action {
            Action::Launch { slot, .. } => world.launching.push(slot),
            Action::Make { slot, unit, .. } => world.making.push((slot, unit)),
            Action::Grant { waiter, place } => {
                *world.granted.entry(waiter).or_default() += 1;
                world.waiting.retain(|entry| entry.0 != waiter);
                world.order.push(waiter);
                world.out.push(place);
            }
            Action::Refuse { waiter, refusal } => {
                if let Refusal::Make(_) = refusal {
                    let asked = world.waiting.iter().find(|entry| entry.0 == waiter);
                    assert_eq!(asked.map(|entry| entry.2), Some(5), "an error of another request");
                }
                assert!(world.refused.insert(waiter), "refused twice");
                world.waiting.retain(|entry| entry.0 != waiter);
            }
            Action::ResetUnit { slot, unit } => world.ending.push((slot, unit, true)),
            Action::Dispose { slot, unit } => world.ending.push((slot, unit, false)),
            Action::OpenPage { waiter, place } => {
                assert!(world.out.contains(&place), "a page for a lease that is over");
                assert!(world.told.insert(waiter), "answered twice");
                let pages = world.contexts.get_mut(&(place.slot, place.unit));
                pages.into_iter().for_each(|pages| *pages += 1);
                world.opened.push(place);
            }
            Action::RefusePage { waiter, .. } => {
                assert!(world.told.insert(waiter), "answered twice");
            }
            Action::ClosePopup { slot, page } => {
                world.popups.retain(|entry| (entry.0, &*entry.2) != (slot, &*page));
            }
            Action::Retired { .. } | Action::Revoke { .. } => {}
            Action::Close { slot, .. } => {
                world.end(|(on, _)| on == slot);
                world.launching.retain(|id| *id != slot);
                world.closing.push(slot);
            }
        }
    }

    fn run(&mut self, step: Do) {
        let pick = |len: usize, which: usize| (len > 0).then(|| which % len.max(1));
        match step {
            Do::Ask { tenant, kind } => {
                let waiter = WaiterId(self.state.number());
                let (spec, profile) = spec(kind);
                self.world.waiting.push((waiter, tenant, kind));
                let tenant = tenant.to_string().into();
                self.tell(Event::Ask { waiter, tenant, profile, spec });
            }
            Do::Cancel(which) => {
                if let Some(index) = pick(self.world.waiting.len(), which) {
                    let (waiter, ..) = self.world.waiting.remove(index);
                    self.tell(Event::Cancel { waiter });
                }
            }
            Do::Launch { which, well } => {
                let Some(index) = pick(self.world.launching.len(), which) else {
                    return;
                };
                let slot = self.world.launching.remove(index);
                let error = Arc::new(LaunchError::CalledOff);
                self.tell(if well {
                    Event::Launched { slot }
                } else {
                    Event::LaunchFailed { slot, error }
                });
            }
            Do::Make { which, well, hung } => {
                let Some(index) = pick(self.world.making.len(), which) else {
                    return;
                };
                let (slot, unit) = self.world.making.remove(index);
                let made = self.state.slots.get(&slot).and_then(|slot| slot.units.get(&unit));
                let (pages, options) =
                    made.map_or((0, false), |unit| (unit.spec.pages(), unit.spec.is_special()));
                let well = well && !(options && self.world.refuses_options);
                let error = Arc::new(if hung {
                    OpError::Lost(Loss::PageCrashed)
                } else {
                    OpError::driver("no")
                });
                if well && self.running().contains(&slot) {
                    self.world.contexts.insert((slot, unit), pages);
                }
                self.tell(if well {
                    Event::Made { slot, unit }
                } else {
                    Event::MakeFailed { slot, unit, error, hung }
                });
            }
            Do::End { which, well } => {
                let Some(index) = pick(self.world.ending.len(), which) else {
                    return;
                };
                let (slot, unit, reset) = self.world.ending.remove(index);
                let again = reset && well;
                if well {
                    let was = self.world.end(|at| at == (slot, unit));
                    self.world.contexts.extend(was.filter(|_| reset).map(|_| ((slot, unit), 1)));
                }
                self.tell(if again {
                    Event::Reset { slot, unit }
                } else {
                    Event::Disposed { slot, unit, well }
                });
            }
            Do::Close(which) => {
                let Some(index) = pick(self.world.closing.len(), which) else {
                    return;
                };
                let slot = self.world.closing.remove(index);
                self.tell(Event::Closed { slot, clean: true });
            }
            Do::Release { which, how } => {
                let Some(index) = pick(self.world.out.len(), which) else {
                    return;
                };
                let place = self.world.out.remove(index);
                let condition =
                    [Condition::Unused, Condition::Clean, Condition::Discarded, Condition::Broken];
                self.tell(Event::Release { place, condition: condition[usize::from(how)] });
            }
            Do::Lose(which) => {
                let running: Vec<_> = self.running();
                let Some(index) = pick(running.len(), which) else {
                    return;
                };
                let slot = running[index];
                self.world.closing.push(slot);
                self.world.end(|(on, _)| on == slot);
                self.tell(Event::Lost { slot, loss: Loss::Unresponsive });
            }
            Do::Crash(which) => {
                let all: Vec<_> = self.world.contexts.keys().copied().collect();
                let Some(index) = pick(all.len(), which) else {
                    return;
                };
                let (slot, unit) = all[index];
                self.tell(Event::Crashed { slot, unit });
                let left = self.state.slots.get(&slot).and_then(|slot| slot.units.get(&unit));
                let spare = left.is_some_and(|unit| unit.phase == UnitPhase::Spare);
                assert!(!spare, "a crashed page is stock");
            }
            Do::Measure { which, memory } => {
                let running: Vec<_> = self.running();
                let Some(index) = pick(running.len(), which) else {
                    return;
                };
                self.tell(Event::Measured { slot: running[index], memory });
            }
            Do::Pressure(high) => self.tell(Event::Pressure { high }),
            Do::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.tell(Event::Tick);
            }
            Do::Popup(which) => {
                let all: Vec<_> = self.world.contexts.keys().copied().collect();
                let Some(index) = pick(all.len(), which) else {
                    return;
                };
                let ((slot, unit), page) = (all[index], self.state.number().to_string());
                self.world.popups.push((slot, unit, page.clone()));
                self.tell(Event::PopupOpened { slot, unit, page });
            }
            Do::PopupGone(which) => {
                let Some(index) = pick(self.world.popups.len(), which) else {
                    return;
                };
                let (slot, _, page) = self.world.popups.remove(index);
                self.tell(Event::PageGone { slot, page });
            }
            Do::OpenPage(which) => {
                let Some(index) = pick(self.world.out.len(), which) else {
                    return;
                };
                let place = self.world.out[index];
                let waiter = WaiterId(self.state.number());
                self.tell(Event::OpenPage { waiter, place });
                assert!(self.world.told.remove(&waiter), "a holder waits for a page for ever");
            }
            Do::ClosePage(which) => {
                let Some(index) = pick(self.world.opened.len(), which) else {
                    return;
                };
                let place = self.world.opened.remove(index);
                // The context may have ended with all its pages, or be another lease's.
                let is_out = self.world.out.contains(&place);
                let pages = self.world.contexts.get_mut(&(place.slot, place.unit));
                pages.filter(|_| is_out).into_iter().for_each(|pages| *pages -= 1);
                self.tell(Event::PageClosed { place });
            }
        }
    }

    fn running(&self) -> Vec<SlotId> {
        let running = |slot: &Slot| matches!(slot.phase, Phase::Ready | Phase::Retiring { .. });
        self.state.slots().filter(|(_, slot)| running(slot)).map(|(id, _)| id).collect()
    }

    fn check(&self) {
        let (state, config) = (&self.state, &self.config);
        assert!(state.slots.len() <= config.max_browsers, "I1: browsers");
        for (id, slot) in state.slots() {
            let most = if slot.exclusive { config.max_contexts + 1 } else { config.max_contexts };
            assert!(slot.units.len() <= most, "I1: contexts");
            let alive = self.world.contexts.iter().filter(|((on, _), _)| *on == id);
            let (contexts, pages) =
                alive.fold((0, 0), |sum, (_, pages)| (sum.0 + 1, sum.1 + pages));
            assert!(contexts <= most, "I1: {contexts} contexts stand where {most} may");
            let popups = self.world.popups.iter().filter(|entry| entry.0 == id).count();
            let (alive, most) = (pages + popups, config.max_pages + usize::from(slot.exclusive));
            assert!(alive <= most && slot.pages() <= most, "I1: {alive} pages where {most} may");
        }
        let units = state.slots().flat_map(|(_, slot)| slot.units.values());
        let overdue = |unit: &Unit| {
            matches!(unit.phase, UnitPhase::Leased(_))
                && unit.until.is_some_and(|at| at <= self.now)
        };
        assert!(!units.into_iter().any(overdue), "a lease is out for longer than max_lease");
        let counts = state.counts();
        assert_eq!(counts.granted, counts.returned + counts.revoked + state.out(), "I2");
        assert_eq!(
            counts.granted,
            self.world.granted.len() as u64,
            "each grant is to another waiter"
        );
        assert_eq!(
            counts.asked,
            counts.granted + counts.refused + counts.cancelled + state.waiting() as u64,
            "every caller has one outcome"
        );
        for kind in state.queue.kinds() {
            let fits = |slot: &Slot| {
                slot.phase == Phase::Ready
                    && slot.profile == kind.profile
                    && slot.spare(&kind.spec).is_some()
            };
            let spare = state.slots().any(|(_, slot)| fits(slot));
            assert!(!spare, "I3: {kind:?} waits beside a spare");
        }
        assert!(state.waiting() <= config.max_queue.max(1), "the queue is bounded");
    }

    /// What the world owes the pool and nobody else does.
    fn owed(&self) -> Option<Do> {
        let world = &self.world;
        if !world.closing.is_empty() {
            Some(Do::Close(0))
        } else if !world.launching.is_empty() {
            Some(Do::Launch { which: 0, well: true })
        } else if !world.making.is_empty() {
            Some(Do::Make { which: 0, well: true, hung: false })
        } else if !world.ending.is_empty() {
            Some(Do::End { which: 0, well: true })
        } else {
            None
        }
    }

    /// Lets the browsers do all they were asked to.
    fn work(&mut self) {
        for _ in 0..1000 {
            let Some(step) = self.owed() else { return };
            self.run(step);
        }
        panic!("the browsers never come to rest: {:?} {:?}", self.world, self.state);
    }

    /// Lets the world do all it owes, well, until nothing changes any more.
    fn calm(&mut self) {
        for _ in 0..10_000 {
            let world = &self.world;
            let step = if let Some(step) = self.owed() {
                step
            } else if !world.out.is_empty() {
                Do::Release { which: 0, how: 1 }
            } else if let Some(wake) =
                self.state.next_wake(self.now).filter(|_| self.state.waiting() > 0)
            {
                Do::Wait((wake - self.now).as_secs() + 1)
            } else {
                return;
            };
            self.run(step);
        }
        panic!("the pool never comes to rest: {:?} {:?}", self.world, self.state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn every_invariant_holds_in_every_storm(
        config in configs(),
        storm in prop::collection::vec(steps(), 1..120),
    ) {
        let mut sim = Sim::new(config);
        for step in storm {
            sim.run(step);
        }
        // I4: once the world keeps its word and memory is free, nobody waits for ever.
        sim.run(Do::Pressure(false));
        sim.calm();
        prop_assert_eq!(sim.state.waiting(), 0, "somebody waits for nothing: {:?}", sim.state);
        // The end: no slot, and every lease counted once.
        sim.tell(Event::Drain);
        sim.tell(Event::Destroy);
        sim.calm();
        prop_assert_eq!(sim.state.slots().count(), 0);
        let counts = sim.state.counts();
        prop_assert_eq!(counts.granted, counts.returned + counts.revoked);
    }

    #[test]
    fn lines_are_in_order_and_tenants_take_turns(
        asks in prop::collection::vec(0..3_u8, 1..40),
    ) {
        let config = PoolConfig { max_browsers: 1, max_contexts: 1, spares: 0, ..PoolConfig::default() };
        let mut sim = Sim::new(config);
        // Each tenant's callers are numbered; the order is by number, then by arrival.
        let mut asked = [0; 3];
        let mut expected = Vec::new();
        for (arrival, tenant) in asks.into_iter().enumerate() {
            sim.run(Do::Ask { tenant, kind: 0 });
            let waiter = sim.world.waiting.last().map(|entry| entry.0);
            let waiter = waiter.expect("nothing is granted before the launch");
            let share = &mut asked[usize::from(tenant)];
            expected.push((*share, arrival, waiter));
            *share += 1;
        }
        sim.calm();
        expected.sort_unstable();
        let expected: Vec<_> = expected.into_iter().map(|entry| entry.2).collect();
        prop_assert_eq!(sim.world.order, expected);
    }

    /// Whoever waits is served however many come after it, of whatever kind, and whatever they hold.
    #[test]
    fn newcomers_of_one_kind_never_starve_another(
        browsers in 1..3_usize,
        contexts in 1..4_usize,
        held in 0..7_u8,
        wanted in 0..7_u8,
        newcomer in 0..7_u8,
        (tenants, forever) in any::<(bool, bool)>(),
    ) {
        let config = PoolConfig {
            max_browsers: browsers,
            max_contexts: contexts,
            spares: 0,
            isolation: Isolation::Page,
            ..PoolConfig::default()
        };
        let mut sim = Sim::new(config);
        let full = browsers * contexts;
        // One lease may never end.
        (0..if forever { 1 } else { full }).for_each(|_| sim.run(Do::Ask { tenant: 0, kind: held }));
        sim.work();
        (0..full).for_each(|_| sim.run(Do::Ask { tenant: 0, kind: newcomer }));
        sim.run(Do::Ask { tenant: u8::from(tenants), kind: wanted });
        let waiter = sim.state.next_id;
        let mut others = 0;
        for _ in 0..120 {
            let before = sim.world.order.len();
            // The browsers do all they are asked to, the oldest other lease ends, and another caller comes.
            sim.work();
            if sim.world.out.len() > usize::from(forever) {
                sim.run(Do::Release { which: usize::from(forever), how: 1 });
            }
            sim.run(Do::Ask { tenant: 2, kind: newcomer });
            sim.work();
            if !sim.world.waiting.iter().any(|entry| entry.0.0 == waiter) {
                break;
            }
            others += sim.world.order.len() - before;
            let bound = 2 * full + (browsers + 1) * supply::OVERTAKES as usize;
            prop_assert!(others <= bound, "{others} were served before it: {:?}", sim.state);
        }
    }

    /// Whatever options some ask for, and the browsers refuse: each of them is told, and no other notices.
    #[test]
    fn an_error_of_a_request_touches_no_other(
        browsers in 1..3_usize,
        contexts in 1..4_usize,
        asks in prop::collection::vec((0..3_u8, 0..6_u8), 1..60),
    ) {
        let config = PoolConfig {
            max_browsers: browsers,
            max_contexts: contexts,
            circuit_after: 1,
            max_errors: 1,
            ..PoolConfig::default()
        };
        let mut sim = Sim::new(config);
        sim.world.refuses_options = true;
        for (tenant, kind) in asks {
            sim.run(Do::Ask { tenant, kind });
        }
        let (mut bad, mut good) = (BTreeSet::new(), BTreeSet::new());
        for (waiter, _, kind) in &sim.world.waiting {
            if *kind == 5 { bad.insert(*waiter) } else { good.insert(*waiter) };
        }
        good.extend(sim.world.granted.keys());
        sim.calm();
        prop_assert_eq!(&sim.world.refused, &bad, "each of them is told, and they alone");
        let granted: BTreeSet<WaiterId> = sim.world.granted.keys().copied().collect();
        prop_assert_eq!(granted, good);
        prop_assert!(sim.state.circuits.is_empty(), "launches pause: {:?}", sim.state);
        prop_assert_eq!(sim.state.counts().ended.get(EndReason::Errors.name()), None);
        let errors = sim.state.slots().map(|(_, slot)| slot.errors).max();
        prop_assert!(errors.unwrap_or(0) == 0, "a browser is charged: {:?}", sim.state);
    }

    /// Whatever their first page does to them, browsers are launched at a rate that falls.
    #[test]
    fn browsers_that_die_young_are_launched_ever_more_slowly(life in 0..9_u64) {
        let mut sim = Sim::new(PoolConfig { max_browsers: 1, circuit_after: 1000, ..PoolConfig::default() });
        let (start, minute) = (sim.now, Duration::from_secs(60));
        let mut launches = 0;
        while sim.now < start + minute {
            if sim.world.waiting.is_empty() {
                sim.run(Do::Ask { tenant: 0, kind: 0 });
            }
            if sim.world.launching.is_empty() {
                let wake = sim.state.next_wake(sim.now).unwrap_or(sim.now + Duration::from_secs(1));
                sim.now = wake.max(sim.now + Duration::from_millis(1));
                sim.tell(Event::Tick);
                continue;
            }
            launches += 1;
            sim.work();
            sim.now += Duration::from_secs(life);
            sim.run(Do::Lose(0));
            sim.work();
        }
        prop_assert!(launches <= 10, "{launches} launches in a minute");
    }
}
