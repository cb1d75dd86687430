//! Serves the pages on the loopback.

use crate::pages::{self, Answer};
use lastout::supervisor::{Failure, Stopping};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The longest head of a request that is read.
const HEAD: usize = 16 * 1024;

/// How often each path was asked for.
type Visits = Arc<Mutex<HashMap<String, u32>>>;

/// Answers until it is asked to stop; requests that hang end with it.
pub(crate) async fn serve(listener: TcpListener, stopping: Stopping) -> Result<(), Failure> {
    let visits = Visits::default();
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.asked() => return Ok(()),
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                requests.spawn(one(socket, Arc::clone(&visits)));
            }
            Some(_) = requests.join_next() => {}
        }
    }
}

/// A client that goes away in the middle, as a killed browser does, is no error.
async fn one(mut socket: TcpStream, visits: Visits) {
    let Some(path) = head(&mut socket).await else {
        return;
    };
    let visit = {
        let mut visits = visits.lock().unwrap_or_else(PoisonError::into_inner);
        let visit = visits.entry(path.clone()).or_default();
        *visit += 1;
        *visit
    };
    let answer = pages::answer(&path, visit);
    if let Answer::Page(late, _) = &answer {
        // The page is slow on purpose; nobody waits for this but the browser.
        tokio::time::sleep(*late).await;
    }
    match pages::response(&answer) {
        Some(response) => {
            let _ = socket.write_all(&response).await;
            let _ = socket.shutdown().await;
        }
        None => until_gone(&mut socket).await,
    }
}

async fn head(socket: &mut TcpStream) -> Option<String> {
    let (mut read, mut buffer) = (Vec::new(), [0; 2048]);
    while read.len() < HEAD {
        let count = socket.read(&mut buffer).await.ok()?;
        read.extend_from_slice(&buffer[..count]);
        if let Some(path) = pages::requested(&read) {
            return Some(path);
        }
        if count == 0 {
            return None;
        }
    }
    None
}

async fn until_gone(socket: &mut TcpStream) {
    let mut buffer = [0; 64];
    while matches!(socket.read(&mut buffer).await, Ok(1..)) {}
}
