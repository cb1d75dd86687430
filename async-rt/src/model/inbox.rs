//! The inbox alone: push, park, take and close, with one to three producers.
#![expect(unsafe_code, reason = "the inbox links nodes that the model keeps alive")]

use super::{Sleeper, model};
use crate::inbox::{Inbox, Node, Pushed};
use crate::sync::AtomicPtr;
use crate::sys::Unpark;
use loom::cell::Cell;
use loom::sync::Arc;
use loom::thread;
use std::ptr::NonNull;

struct Letter {
    next: AtomicPtr<Self>,
    text: Cell<usize>,
}

// SAFETY: `next` is one field, which nothing else uses.
unsafe impl Node for Letter {
    fn next(&self) -> &AtomicPtr<Self> {
        &self.next
    }
}

/// A raw pointer to a letter that the model keeps until all threads are joined.
struct Sent(*const Letter);
// SAFETY: the letter is written before it is published and read after it is taken.
unsafe impl Send for Sent {}

impl Sent {
    /// Writes the letter and pushes it; whether it was accepted.
    fn post(self, inbox: &Inbox<Letter>, sleeper: &Sleeper, text: usize) -> bool {
        let letter = NonNull::new(self.0.cast_mut()).unwrap();
        // SAFETY: the model keeps the letter alive.
        unsafe { letter.as_ref() }.text.set(text);
        // SAFETY: each letter is posted once, and lives until after the last batch.
        match unsafe { inbox.push(letter) } {
            Pushed::Queued => true,
            Pushed::MustUnpark => {
                sleeper.unpark();
                true
            }
            Pushed::Closed => false,
        }
    }
}

fn letters(count: usize) -> Vec<Box<Letter>> {
    let letter = |_| Letter { next: AtomicPtr::new(std::ptr::null_mut()), text: Cell::new(0) };
    (0..count).map(letter).map(Box::new).collect()
}

fn read(letter: NonNull<Letter>) -> usize {
    // SAFETY: the model keeps the letter alive.
    unsafe { letter.as_ref() }.text.get()
}

/// The owner sleeps until each producer's letters have come, in each producer's order.
fn deliver(producers: usize, each: usize) {
    let (inbox, sleeper) = (Arc::new(Inbox::new()), Sleeper::new());
    let letters = letters(producers * each);
    let threads: Vec<_> = (0..producers)
        .map(|producer| {
            let (inbox, sleeper) = (inbox.clone(), sleeper.clone());
            let mine = &letters[producer * each..][..each];
            let mine: Vec<_> = mine.iter().map(|letter| Sent(&raw const **letter)).collect();
            thread::spawn(move || {
                for (number, letter) in mine.into_iter().enumerate() {
                    assert!(letter.post(&inbox, &sleeper, producer * 10 + number + 1));
                }
            })
        })
        .collect();
    let mut came = vec![0; producers];
    loop {
        let mut batch = inbox.take_all();
        while let Some(letter) = batch.pop() {
            let text = read(letter) - 1;
            assert_eq!(came[text / 10], text % 10, "in order");
            came[text / 10] += 1;
        }
        if came.iter().sum::<usize>() == producers * each {
            break;
        }
        if inbox.park() {
            sleeper.sleep();
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn i1_what_was_written_before_a_push_is_seen() {
    model(3, || deliver(1, 2));
}

#[test]
fn i2_no_push_is_slept_through() {
    model(3, || deliver(2, 1));
}

#[test]
fn i2_no_push_of_three_is_slept_through() {
    // Two preemptions are 88 seconds here, one is two, and it is the same race three times.
    model(1, || deliver(3, 1));
}

#[test]
fn i3_close_strands_nothing() {
    model(3, || {
        let (inbox, sleeper) = (Arc::new(Inbox::new()), Sleeper::new());
        let letters = letters(2);
        let threads: Vec<_> = letters
            .iter()
            .map(|letter| {
                let (inbox, sleeper) = (inbox.clone(), sleeper.clone());
                let letter = Sent(&raw const **letter);
                thread::spawn(move || usize::from(letter.post(&inbox, &sleeper, 1)))
            })
            .collect();
        let mut batch = inbox.close();
        let mut came = 0;
        while let Some(letter) = batch.pop() {
            came += read(letter);
        }
        let sent: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(came, sent, "each accepted letter came out, each other was refused");
    });
}
