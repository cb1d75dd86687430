//! A client that says exactly what a test wants.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(mine, _)| mine.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The text between the first `from` and the next `to`.
    pub(crate) fn between(&self, from: &str, to: &str) -> &str {
        let (_, rest) =
            self.body.split_once(from).unwrap_or_else(|| panic!("{from}: {}", self.body));
        rest.split_once(to).map_or(rest, |(text, _)| text)
    }
}

/// Sends bytes as they are, and reads until the server ends the connection.
pub(crate) async fn say(server: SocketAddr, text: &str) -> Answer {
    let mut socket = TcpStream::connect(server).await.unwrap();
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    parse(&bytes)
}

pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer { status: status.unwrap_or(0), head: head.to_owned(), body: body.to_owned() }
}

pub(crate) async fn get(server: SocketAddr, path: &str, headers: &[&str]) -> Answer {
    say(server, &request(server, "GET", path, headers, "")).await
}

/// As a form of a page of the console sends it.
pub(crate) async fn post(server: SocketAddr, path: &str, form: &str) -> Answer {
    let origin = format!("Origin: http://{server}");
    post_with(server, path, form, &[&origin, "Sec-Fetch-Site: same-origin"]).await
}

pub(crate) async fn post_with(
    server: SocketAddr,
    path: &str,
    form: &str,
    headers: &[&str],
) -> Answer {
    say(server, &request(server, "POST", path, headers, form)).await
}

pub(crate) fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        text.push_str(&format!("Host: {server}\r\n"));
    }
    for line in headers {
        text.push_str(&format!("{line}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}

/// A stream of events that is read bit by bit.
pub(crate) struct Events {
    socket: TcpStream,
    pub(crate) text: String,
}

impl Events {
    pub(crate) async fn open(server: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(server).await.unwrap();
        let text = request(server, "GET", "/events", &[], "");
        socket.write_all(text.as_bytes()).await.unwrap();
        Self { socket, text: String::new() }
    }

    /// Reads on until `text` has come, or the stream has ended; whether it has come.
    pub(crate) async fn until(&mut self, text: &str) -> bool {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.text.find(text) {
                self.text.drain(..at + text.len());
                return true;
            }
            match self.socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return false,
                Ok(count) => self.text.push_str(&String::from_utf8_lossy(&buffer[..count])),
            }
        }
    }
}
