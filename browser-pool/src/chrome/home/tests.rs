//! Owners that live, die and come again.

use super::sweep::{Killed, SWEEP_BOUND, sweep_owner};
use super::*;
use crate::chrome::Chrome;
use lastout_proc_tree::Deadline;
use std::time::Instant;

fn root() -> PathBuf {
    let root = PathBuf::from("/tmp").join(format!("lo-{}", random_name().unwrap()));
    private_dir(&root).unwrap();
    root
}

#[test]
fn a_living_owner_is_left_alone_and_a_dead_one_is_swept() {
    let root = root();
    let living = Arc::new(Home::open(Some(root.clone())).unwrap());
    let browser = living.browser(1).unwrap();
    let dead = Arc::new(Home::open(Some(root.clone())).unwrap());
    let mut left = dead.browser(1).unwrap();
    drop(left.hand_over());
    let path = left.path().to_owned();
    drop(left);
    let left = path;
    let dead_path = dead.path().to_owned();
    // The owner dies: its directory stays, because a browser's directory is in it.
    drop(dead);
    assert!(left.exists());
    let seen = |path: &Path| {
        let owners = Chrome::owners(Some(&root)).unwrap();
        let owner = owners.into_iter().find(|owner| owner.path == path)?;
        Some((owner.is_living, owner.browsers.len()))
    };
    assert_eq!(seen(living.path()), Some((true, 1)));
    assert_eq!(seen(&dead_path), Some((false, 1)));
    let sweeper = Home::open(Some(root.clone())).unwrap();
    let report = sweeper.sweep();
    assert_eq!(seen(living.path()), Some((true, 1)));
    assert_eq!(seen(&dead_path), None);
    assert_eq!((report.living, report.dead, report.left.len()), (1, 1, 0));
    assert!(!dead_path.exists() && browser.path().exists());
    let path = browser.path().to_owned();
    drop(browser);
    assert!(!path.exists(), "whoever hands it to nobody removes it");
    assert_eq!(living.left_behind(1), []);
    drop((living, sweeper));
    assert!(own_dirs(&root).next().is_none(), "owners leave nothing");
    std::fs::remove_dir(&root).unwrap();
}

#[test]
fn owners_that_come_go_and_sweep_at_once_never_touch_a_living_one() {
    let root = root();
    let owner = |number: u64| {
        for round in 0..40_u64 {
            let home = Arc::new(Home::open(Some(root.clone())).unwrap());
            let mut browser = home.browser(1).unwrap();
            let report = home.sweep();
            assert!(report.left.is_empty(), "{report:?}");
            assert!(browser.path().join("p").exists() && home.path().join("lock").exists());
            if (number + round).is_multiple_of(3) {
                drop(browser.hand_over());
            }
            // Otherwise it dies with a browser's directory: somebody else's sweep takes it.
        }
    };
    std::thread::scope(|scope| {
        (0..3).for_each(|number| drop(scope.spawn(move || owner(number))));
    });
    let last = Home::open(Some(root.clone())).unwrap();
    last.sweep();
    drop(last);
    assert!(own_dirs(&root).next().is_none(), "every dead owner was swept");
    std::fs::remove_dir(&root).unwrap();
}

#[test]
fn links_files_and_open_directories_are_not_trusted() {
    let root = root();
    let outside = root.with_extension("out");
    make_dir(&outside).unwrap();
    std::fs::write(outside.join("lock"), "").unwrap();
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    let home = Home::open(Some(root.clone())).unwrap();
    let report = home.sweep();
    assert_eq!((report.living, report.dead), (0, 0));
    assert!(outside.join("lock").exists() && root.join("file").exists());
    let through = root.join("link");
    assert!(matches!(Home::open(Some(through)), Err(LaunchError::Directory { .. })));
    let shared = root.with_extension("all");
    DirBuilder::new().mode(0o755).create(&shared).unwrap();
    assert!(matches!(Home::open(Some(shared.clone())), Err(LaunchError::Directory { .. })));
    let long = root.join("x".repeat(LONGEST_ROOT));
    assert!(matches!(Home::open(Some(long)), Err(LaunchError::Refused { .. })));
    drop(home);
    for path in [root, outside, shared] {
        remove(&path, None, Instant::now() + SWEEP_BOUND).unwrap();
    }
}

#[test]
fn a_directory_stays_until_no_process_may_run_in_it() {
    let root = root();
    let dead = Arc::new(Home::open(Some(root.clone())).unwrap());
    let mut browser = dead.browser(1).unwrap();
    let owner = dead.path().to_owned();
    drop((browser.hand_over(), browser, dead));
    let mut report = SweepReport::default();
    let fails = |_: &Path, _| Killed { count: 0, all: false };
    sweep_owner(&owner, Deadline::after(SWEEP_BOUND), fails, &mut report);
    assert!(owner.exists() && report.left == [owner.clone()], "{report:?}");
    let sweeper = Home::open(Some(root.clone())).unwrap();
    let report = sweeper.sweep();
    assert_eq!((report.dead, report.left.len()), (1, 0), "{report:?}");
    drop(sweeper);
    std::fs::remove_dir(&root).unwrap();
}

#[test]
fn a_look_at_owners_makes_nothing_and_a_sweep_needs_no_browser() {
    let root = PathBuf::from("/tmp").join(format!("lo-{}", random_name().unwrap()));
    assert_eq!(Chrome::owners(Some(&root)).unwrap(), []);
    assert!(!root.exists());
    let home = Arc::new(Home::open(Some(root.clone())).unwrap());
    let mut browser = home.browser(1).unwrap();
    let me = ProcId::of(std::process::id()).unwrap();
    browser.record(me).unwrap();
    let owners = Chrome::owners(Some(&root)).unwrap();
    assert_eq!(owners[0].browsers[0].pid, Some(std::process::id()));
    std::fs::remove_file(browser.path().join("process")).unwrap();
    drop(browser.hand_over());
    drop((browser, home));
    let swept = Chrome::sweep(Some(&root)).unwrap();
    assert_eq!((swept.dead, swept.killed, swept.left.len()), (1, 0, 0));
    assert_eq!(Chrome::owners(Some(&root)).unwrap(), []);
    std::fs::remove_dir(&root).unwrap();
    // A directory that others may read is no root.
    DirBuilder::new().mode(0o755).create(&root).unwrap();
    assert!(matches!(Chrome::owners(Some(&root)), Err(LaunchError::Directory { .. })));
    std::fs::remove_dir(&root).unwrap();
}
