//! The channels between threads: publication, sleep and wake, and each way to end.

use super::model;
use crate::channel::{TrySendError, mpsc, mpsc_bytes, oneshot, spsc, unbounded};
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

/// Room comes back while a sender queues up for it.
#[test]
fn i10_no_room_slips_past_a_waiter() {
    model(2, || {
        let (send, mut recv) = mpsc::channel(1);
        send.try_send(0).unwrap();
        let thread = thread::spawn(move || block_on(send.send(1)).unwrap());
        assert_eq!(block_on(recv.recv()), Some(0));
        assert_eq!(block_on(recv.recv()), Some(1));
        thread.join().unwrap();
    });
}

/// The second lap of an `mpsc`: a slot is filled again only after it was read.
#[test]
fn i10_room_that_is_taken_was_freed_before() {
    model(2, || {
        let (send, mut recv) = mpsc::channel(1);
        let thread = thread::spawn(move || {
            send.try_send(Box::new(1)).unwrap();
            while let Err(TrySendError::Full(_)) = send.try_send(Box::new(2)) {
                thread::yield_now();
            }
        });
        assert_eq!(block_on(recv.recv()), Some(Box::new(1)));
        thread.join().unwrap();
    });
}

#[test]
fn i11_a_value_of_an_mpsc_is_whole() {
    model(3, || {
        let (send, mut recv) = mpsc::channel(1);
        let thread = thread::spawn(move || send.try_send(7).unwrap());
        let value = loop {
            if let Ok(value) = recv.try_recv() {
                break value;
            }
            thread::yield_now();
        };
        assert_eq!(value, 7);
        thread.join().unwrap();
    });
}

/// Three values through one slot: each is written after the one before it was read.
#[test]
fn i11_a_value_of_an_spsc_is_whole_in_every_lap() {
    model(2, || {
        let (mut send, mut recv) = spsc::channel(1);
        let thread = thread::spawn(move || {
            for value in 0..2 {
                while send.try_send(value).is_err() {
                    thread::yield_now();
                }
            }
            send
        });
        for expected in 0..2 {
            let value = loop {
                if let Ok(value) = recv.try_recv() {
                    break value;
                }
                thread::yield_now();
            };
            assert_eq!(value, expected);
        }
        thread.join().unwrap();
    });
}

/// Two senders share two slots: the one that claims the freed slot need not be the one that took its
/// room.
#[test]
fn i11_a_claim_sees_that_its_slot_was_freed() {
    model(2, || {
        let (send, mut recv) = mpsc::channel(2);
        send.try_send(0).unwrap();
        let other = send.clone();
        let retry = |send: &mpsc::Sender<i32>, value| {
            while let Err(TrySendError::Full(_)) = send.try_send(value) {
                thread::yield_now();
            }
        };
        let one = thread::spawn(move || retry(&send, 1));
        let two = thread::spawn(move || retry(&other, 2));
        assert_eq!(block_on(recv.recv()), Some(0));
        one.join().unwrap();
        two.join().unwrap();
    });
}

#[test]
fn i12_a_publication_is_not_slept_through() {
    model(2, || {
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
fn i12_both_sides_of_an_spsc_are_woken_by_the_slot() {
    model(3, || {
        let (mut send, mut recv) = spsc::channel(1);
        let thread = thread::spawn(move || {
            for value in 0..2 {
                block_on(send.send(value)).unwrap();
            }
            send
        });
        assert_eq!(block_on(recv.recv()), Some(0));
        assert_eq!(block_on(recv.recv()), Some(1));
        thread.join().unwrap();
    });
}

#[test]
fn i12_a_record_is_not_slept_through() {
    model(2, || {
        let (send, mut recv) = mpsc_bytes::channel(4);
        let thread = thread::spawn(move || block_on(send.send(b"abcd")).unwrap());
        assert_eq!(&*block_on(recv.recv()).unwrap(), b"abcd");
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

/// Loom reports what leaks: a value that is neither taken nor given back.
#[test]
fn i15_the_end_of_the_receiver_leaves_no_value() {
    model(3, || {
        let (send, recv) = mpsc::channel(2);
        let value = loom::sync::Arc::new(());
        let thread = thread::spawn(move || drop(send.try_send(value)));
        drop(recv);
        thread.join().unwrap();
    });
    model(3, || {
        let (mut send, recv) = spsc::channel(2);
        let value = loom::sync::Arc::new(());
        let thread = thread::spawn(move || drop(send.try_send(value)));
        drop(recv);
        thread.join().unwrap();
    });
}

/// What a sender was told to be sent, a closed channel delivers.
#[test]
fn i15_a_closed_channel_delivers_what_was_sent() {
    model(3, || {
        let (mut send, mut recv) = spsc::channel(2);
        let thread = thread::spawn(move || (send.try_send(1).is_ok(), send));
        recv.close();
        let came = block_on(recv.recv()).is_some();
        let (sent, _send) = thread.join().unwrap();
        assert_eq!(came, sent);
    });
    model(3, || {
        let (send, mut recv) = mpsc::channel(2);
        let thread = thread::spawn(move || (send.try_send(1).is_ok(), send));
        recv.close();
        let came = block_on(recv.recv()).is_some();
        let (sent, _send) = thread.join().unwrap();
        assert_eq!(came, sent);
    });
}

#[test]
fn i16_the_end_of_the_last_sender_is_heard() {
    model(3, || {
        let (send, mut recv) = mpsc::channel::<u8>(1);
        let thread = thread::spawn(move || drop(send));
        assert_eq!(block_on(recv.recv()), None);
        thread.join().unwrap();
    });
    model(3, || {
        let (send, mut recv) = mpsc::channel(1);
        let thread = thread::spawn(move || send.try_send(1).unwrap());
        assert_eq!(block_on(recv.recv()), Some(1));
        assert_eq!(block_on(recv.recv()), None);
        thread.join().unwrap();
    });
}

/// Room that was reserved comes back after the close.
#[test]
fn i16_a_closed_channel_ends_when_its_last_room_is_back() {
    model(3, || {
        let (send, mut recv) = mpsc::channel::<u8>(1);
        let thread = thread::spawn(move || {
            let permit = send.try_reserve();
            drop(permit);
            send
        });
        recv.close();
        assert_eq!(block_on(recv.recv()), None);
        drop(thread.join().unwrap());
    });
}

/// Room was granted to a send that waited; the channel closes, and the send is dropped.
#[test]
fn i16_a_closed_channel_ends_when_a_granted_send_is_dropped() {
    model(3, || {
        let (send, mut recv) = mpsc::channel::<u8>(1);
        send.try_send(0).unwrap();
        let brief = send.clone();
        let mut late = Box::pin(async move { brief.send(1).await });
        assert!(late.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(recv.try_recv(), Ok(0));
        recv.close();
        let thread = thread::spawn(move || drop(late));
        assert_eq!(block_on(recv.recv()), None);
        thread.join().unwrap();
        drop(send);
    });
}

#[test]
fn i16_a_sender_that_waits_for_the_close_hears_it() {
    model(3, || {
        let (send, recv) = mpsc::channel::<u8>(1);
        let thread = thread::spawn(move || block_on(send.closed()));
        drop(recv);
        thread.join().unwrap();
    });
    model(3, || {
        let (send, recv) = unbounded::channel::<u8>();
        let thread = thread::spawn(move || block_on(send.closed()));
        drop(recv);
        thread.join().unwrap();
    });
}

#[test]
fn i16_the_end_of_the_receiver_is_heard_by_a_full_sender() {
    model(3, || {
        let (send, recv) = mpsc::channel(1);
        send.try_send(1).unwrap();
        let thread = thread::spawn(move || drop(recv));
        assert!(block_on(pin!(send.send(2))).is_err());
        thread.join().unwrap();
    });
}

#[test]
fn i17_the_end_of_the_sender_is_heard() {
    model(3, || {
        let (mut send, mut recv) = spsc::channel(1);
        let thread = thread::spawn(move || send.try_send(1).unwrap());
        assert_eq!(block_on(recv.recv()), Some(1));
        assert_eq!(block_on(recv.recv()), None);
        thread.join().unwrap();
    });
}

/// Room that is reserved is used after the close, or comes back; the receiver waits for either.
#[test]
fn i17_a_closed_channel_waits_for_its_reserved_room() {
    for used in [true, false] {
        model(3, move || {
            let (mut send, mut recv) = spsc::channel(1);
            let thread = thread::spawn(move || {
                let sent = match block_on(send.reserve()) {
                    Ok(permit) if used => {
                        permit.send(1).unwrap();
                        true
                    }
                    _ => false,
                };
                (sent, send)
            });
            recv.close();
            let came = block_on(recv.recv()).is_some();
            let (sent, send) = thread.join().unwrap();
            assert_eq!(came, sent);
            drop(send);
        });
    }
}

#[test]
fn i17_a_sender_that_waits_for_the_close_hears_it() {
    model(3, || {
        let (mut send, recv) = spsc::channel::<u8>(1);
        let thread = thread::spawn(move || block_on(send.closed()));
        drop(recv);
        thread.join().unwrap();
    });
}

#[test]
fn i17_the_end_of_the_receiver_is_heard_by_a_full_sender() {
    model(3, || {
        let (mut send, mut recv) = spsc::channel(1);
        send.try_send(1).unwrap();
        let thread = thread::spawn(move || {
            recv.close();
            recv
        });
        assert!(block_on(send.send(2)).is_err());
        drop(thread.join().unwrap());
    });
}

#[test]
fn i18_the_end_of_an_unbounded_sender_is_heard() {
    model(3, || {
        let (send, mut recv) = unbounded::channel();
        let thread = thread::spawn(move || send.send(1).unwrap());
        assert_eq!(block_on(recv.recv()), Some(1));
        assert_eq!(block_on(recv.recv()), None);
        thread.join().unwrap();
    });
}
