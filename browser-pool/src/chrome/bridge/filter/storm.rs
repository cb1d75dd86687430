//! Recorded traffic in any order, cut, doubled and mutated.

use super::super::router::OWN;
use super::oracle::{Oracle, RECORDED};
use proptest::prelude::*;
use std::time::Duration;

/// One message, or what happens between two.
#[derive(Debug, Clone)]
struct Step {
    which: usize,
    session: u8,
    context: u8,
    number: u64,
    /// Where a byte is replaced, and by which.
    wrong: Option<(usize, u8)>,
    cut: Option<usize>,
    later: u64,
    asks: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wrong = prop::option::weighted(0.15, (0..300_usize, any::<u8>()));
    let cut = prop::option::weighted(0.05, 0..300_usize);
    let number = prop_oneof![5 => 1..40_u64, 1 => OWN..OWN + 4];
    let asks = prop::bool::weighted(0.05);
    let step = (any::<usize>(), 0..3_u8, 0..2_u8, number, wrong, cut, 0..3000_u64, asks);
    let step = step.prop_map(|(which, session, context, number, wrong, cut, later, asks)| Step {
        which,
        session,
        context,
        number,
        wrong,
        cut,
        later,
        asks,
    });
    prop::collection::vec(step, 1..120)
}

/// The message with its places filled; the number of a call is the next one.
fn text(step: &Step, template: &str, number: u64) -> String {
    let Step { session, context, .. } = step;
    let text = template
        .replace("\"S\"", &format!("\"s{session}\""))
        .replace("\"T\"", &format!("\"t{session}\""))
        .replace("\"C\"", &format!("\"c{context}\""))
        .replace("\"R\"", &format!("\"r{}\"", step.number % 4))
        .replace(":N", &format!(":{number}"));
    let mut bytes = text.into_bytes();
    if let Some((at, byte)) = step.wrong {
        let at = at % bytes.len();
        bytes[at] = byte;
    }
    bytes.truncate(step.cut.unwrap_or(usize::MAX));
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_call_is_answered_once_and_a_password_goes_to_its_proxy_alone(steps in steps()) {
        let recorded: Vec<_> = RECORDED.lines().map(|line| line.split_at(2)).collect();
        let (mut oracle, mut next) = (Oracle::new(), 0);
        for step in steps {
            oracle.later(Duration::from_millis(step.later));
            if step.asks {
                oracle.asked();
            }
            let (side, template) = recorded[step.which % recorded.len()];
            if side == "> " {
                next += 1;
                oracle.sent(&text(&step, template, next));
            } else {
                oracle.told(&text(&step, template, step.number));
            }
        }
        oracle.end();
    }
}
