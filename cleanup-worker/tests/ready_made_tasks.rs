//! The ready-made tasks do what they say, and say when they could not.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, unsafe_code, reason = "real files")]

mod support;

use lastout_cleanup_worker::{
    CleanupWorker, CloseFd, Event, Options, RemoveDirAll, RemoveFile, Stats,
};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use support::{LONG, until};

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lastout-tasks-{name}-{}", std::process::id()))
}

/// Runs tasks and gives the numbers and what was told about failures.
fn run(work: impl FnOnce(&CleanupWorker)) -> (Stats, Vec<String>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let worker = CleanupWorker::builder()
        .on_event(move |event| {
            if let Event::Failed { label, error, .. } = event {
                let source = error.source().map(ToString::to_string);
                log.lock().unwrap().push(format!("{label}: {error} ({source:?})"));
            }
        })
        .build()
        .unwrap();
    work(&worker);
    worker.handle().flush_blocking(LONG).unwrap();
    let told = told.lock().unwrap().clone();
    (worker.stats(), told)
}

#[test]
fn a_file_is_removed_and_one_that_is_gone_counts_as_removed() {
    let path = scratch("file");
    fs::write(&path, b"x").unwrap();
    let (stats, _) = run(|worker| {
        let handle = worker.handle();
        handle.submit(RemoveFile::new(&path)).unwrap();
        handle.submit(RemoveFile::new(&path)).unwrap();
    });
    assert!(!path.exists());
    assert_eq!(stats.completed, 2);
}

#[test]
fn a_file_that_cannot_be_removed_is_told_with_its_path() {
    let path = scratch("not-a-file");
    fs::create_dir(&path).unwrap();
    let label = Options::new().label("mine");
    let (stats, told) = run(|worker| {
        worker.handle().submit(RemoveFile::new(&path).options(label)).unwrap();
    });
    fs::remove_dir(&path).unwrap();
    assert_eq!((stats.failed, stats.completed), (1, 0));
    assert!(told[0].starts_with(&format!("mine: remove file {}", path.display())), "{told:?}");
}

#[test]
fn a_directory_is_removed_until_it_stays_gone() {
    let path = scratch("dir");
    let deep = path.join("a/b/c");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), b"x").unwrap();
    let (stats, told) = run(|worker| {
        worker.handle().submit(RemoveDirAll::new(&path)).unwrap();
        // Somebody who is still at it makes the directory anew, as often as it is removed.
        for _ in 0..5 {
            until("it was removed", || !path.exists());
            fs::create_dir_all(&deep).unwrap();
        }
    });
    assert_eq!((stats.completed, told), (1, Vec::new()));
    assert!(!path.exists());
}

/// A slash behind a link makes the system follow it.
#[test]
fn a_link_to_a_directory_is_removed_and_not_followed_however_it_is_written() {
    for end in ["", "/", "//", "/.", "/./"] {
        let (kept, link) = (scratch("kept"), scratch("link"));
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), b"x").unwrap();
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        let (stats, told) = run(|worker| {
            let path = format!("{}{end}", link.display());
            worker.handle().submit(RemoveDirAll::new(path)).unwrap();
        });
        assert!(kept.join("file").exists(), "followed with {end:?}");
        fs::remove_dir_all(&kept).unwrap();
        assert_eq!((stats.completed, stats.failed), (1, 0), "{end:?}: {told:?}");
        assert!(fs::symlink_metadata(&link).is_err());
    }
}

/// What such a path means depends on where the worker runs, and is never what was meant.
#[test]
fn a_path_that_does_not_end_in_a_name_removes_nothing() {
    let kept = scratch("unnamed");
    fs::create_dir_all(kept.join("child")).unwrap();
    let paths = [kept.join("child/.."), kept.join("child/../child/.."), PathBuf::new()];
    for path in paths {
        let (stats, told) = run(|worker| {
            worker.handle().submit(RemoveDirAll::new(&path)).unwrap();
        });
        assert_eq!((stats.failed, told.len()), (1, 1), "{path:?}");
        assert!(told[0].contains("does not end in a name"), "{told:?}");
        assert!(kept.join("child").exists(), "{path:?}");
    }
    fs::remove_dir_all(&kept).unwrap();
}

#[test]
fn a_directory_that_does_not_exist_counts_as_removed() {
    let (stats, _) = run(|worker| {
        worker.handle().submit(RemoveDirAll::new(scratch("never"))).unwrap();
    });
    assert_eq!(stats.completed, 1);
}

#[test]
fn a_descriptor_is_closed_and_an_error_of_the_close_is_told() {
    use std::io::Read;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (stats, _) = run(|worker| worker.handle().submit(CloseFd::new(writer)).unwrap());
    assert_eq!(stats.completed, 1);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "the other end sees it");

    // Far above what anybody else here opens, so that nobody gets the number meanwhile.
    // SAFETY: plain system calls on descriptors of this test.
    let stale = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 900) };
    assert!(stale >= 900);
    // SAFETY: as above; it is closed behind the owner's back, for the error.
    let owned = unsafe { OwnedFd::from_raw_fd(stale) };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::close(stale) }, 0);
    let (stats, told) = run(|worker| worker.handle().submit(CloseFd::new(owned)).unwrap());
    assert_eq!(stats.failed, 1);
    let begin = format!("close descriptor: close descriptor {stale} (Some(\"Bad file descriptor");
    assert!(told[0].starts_with(&begin), "{told:?}");
}

/// The clock stands still, so a second try would never come.
#[test]
fn a_file_in_the_place_of_a_directory_is_told_at_once_and_stays() {
    let path = scratch("no-dir");
    fs::write(&path, b"mine").unwrap();
    let clock = lastout_cleanup_worker::ManualClock::new();
    let worker = CleanupWorker::builder().clock(clock).build().unwrap();
    worker.handle().submit(RemoveDirAll::new(&path)).unwrap();
    worker.handle().flush_blocking(LONG).unwrap();
    assert_eq!(worker.stats().failed, 1);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    fs::remove_file(&path).unwrap();
}

/// Ten seconds after the first try a directory that is there again is given up, and one that is gone is not.
///
/// The clock moves only after the directory is there again, and by more than ten seconds at a time. So the
/// second try, which needs a later time than the first one, is the last, however slow the worker is.
#[test]
fn a_directory_that_keeps_coming_back_is_told_after_ten_seconds() {
    for comes_back in [true, false] {
        let path = scratch("comes-back");
        fs::create_dir(&path).unwrap();
        let clock = lastout_cleanup_worker::ManualClock::new();
        let worker = CleanupWorker::builder().clock(clock.clone()).build().unwrap();
        let patient = Options::new().timeout(std::time::Duration::MAX);
        worker.handle().submit(RemoveDirAll::new(&path).options(patient)).unwrap();
        until("it was removed", || !path.exists());
        if comes_back {
            fs::create_dir(&path).unwrap();
        }
        until("it has ended", || {
            clock.advance(std::time::Duration::from_secs(11));
            worker.stats().ended() == 1
        });
        let stats = worker.stats();
        let expected = if comes_back { (1, 0) } else { (0, 1) };
        assert_eq!((stats.failed, stats.completed), expected, "{stats:?}");
        assert!(!path.exists());
    }
}

#[test]
fn an_armed_task_is_accessible_and_comes_back_when_disarmed() {
    let path = scratch("armed");
    fs::write(&path, b"x").unwrap();
    let (stats, _) = run(|worker| {
        let mut guard = worker.handle().arm(RemoveFile::new("elsewhere")).unwrap();
        assert_eq!(guard.path(), "elsewhere");
        *guard = RemoveFile::new(&path);
        let task = guard.disarm();
        assert_eq!(task.path(), path);
        assert!(path.exists());
        drop(worker.handle().arm(task).unwrap());
    });
    assert_eq!((stats.completed, stats.used), (1, 0));
    assert!(!path.exists());
}
