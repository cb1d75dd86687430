//! Every channel between threads: push against registration, the last sender against registration,
//! and a cancelled send. The byte channels and `spsc` are the same code as `mpsc`.

use super::model;
use crate::channel::{mpsc, mpsc_bytes, oneshot};
use loom::future::block_on;
use loom::thread;
use std::pin::pin;
use std::task::{Context, Waker};

/// Two sends with room for one: the second is dropped after it has queued up, at any moment, while
/// the receiver makes room; the third must still get through.
#[test]
fn i10_a_cancelled_send_passes_its_turn_on() {
    model(2, || {
        let (send, mut recv) = mpsc::channel(1);
        send.try_send(0).unwrap();
        let (brief, patient) = (send.clone(), send);
        let mut waits = Box::pin(async move { brief.send(1).await });
        assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let thread = thread::spawn(move || block_on(patient.send(2)).unwrap());
        assert_eq!(block_on(recv.recv()), Some(0));
        drop(waits);
        assert_eq!(block_on(recv.recv()), Some(2));
        thread.join().unwrap();
    });
}

#[test]
fn i11_a_push_is_not_slept_through() {
    model(3, || {
        let (send, mut recv) = mpsc::channel(2);
        let threads: Vec<_> = [1, 2]
            .map(|n| {
                let send = send.clone();
                thread::spawn(move || send.try_send(n).unwrap())
            })
            .into();
        let sum = block_on(recv.recv()).unwrap() + block_on(recv.recv()).unwrap();
        assert_eq!(sum, 3);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn i11_a_record_is_not_slept_through() {
    model(3, || {
        let (send, mut recv) = mpsc_bytes::channel(4);
        let thread = thread::spawn(move || block_on(send.send(b"abcd")).unwrap());
        assert_eq!(&*block_on(recv.recv()).unwrap(), b"abcd");
        thread.join().unwrap();
    });
}

#[test]
fn i12_the_end_of_the_last_sender_is_heard() {
    model(3, || {
        let (send, mut recv) = mpsc::channel::<u8>(1);
        let thread = thread::spawn(move || drop(send));
        assert_eq!(block_on(recv.recv()), None);
        thread.join().unwrap();
    });
}

#[test]
fn i12_the_end_of_the_receiver_is_heard_by_a_full_sender() {
    model(3, || {
        let (send, recv) = mpsc::channel(1);
        send.try_send(1).unwrap();
        let thread = thread::spawn(move || drop(recv));
        assert!(block_on(pin!(send.send(2))).is_err());
        thread.join().unwrap();
    });
}

#[test]
fn i13_the_value_of_a_oneshot_is_heard_and_so_is_its_absence() {
    for sent in [true, false] {
        model(3, move || {
            let (send, recv) = oneshot::channel();
            let thread =
                thread::spawn(move || if sent { send.send(1).unwrap() } else { drop(send) });
            assert_eq!(block_on(recv).ok(), sent.then_some(1));
            thread.join().unwrap();
        });
    }
}
