//! A proxy that asks gets the name and the password of its context, and nobody else does.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{
    LONG, Oracle, assert_clean_end, builder, engines, patient, pool, soon, until,
};
use lastout_browser_pool::{AcquireError, BrowserPool, LeaseOptions};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// `user:word`, as a browser writes it, in small letters.
const USER: &str = "proxy-authorization: basic dxnlcjp3b3jk";

/// A proxy that lets `user` with the password `word` through, and says what it was asked.
struct Proxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(answer(stream, seen.clone()));
            }
        });
        Self { address, heads, task }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let (status, body) = if !head.contains(USER) {
        ("407 No\r\nProxy-Authenticate: Basic realm=\"proxy\"", "")
    } else if head.contains("/asks") {
        ("401 No\r\nWWW-Authenticate: Basic realm=\"site\"", "<title>asks</title>")
    } else {
        ("200 OK", "<title>through</title><img src=/picture>")
    };
    heads.lock().unwrap().push(head);
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    drop(stream.write_all(response.as_bytes()).await);
    drop(stream.shutdown().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_proxy_of_the_context_gets_its_password() {
    for engine in engines() {
        let (oracle, proxy) = (Oracle::new(), Proxy::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(1).build().unwrap());
        let with = |password: &str| {
            LeaseOptions::new().proxy(&proxy.address).proxy_credentials("user", password)
        };
        let page = soon("a page", pool.page_with(with("word"))).await.unwrap();
        let went = page.navigate("http://site.test/one", LONG).await.unwrap();
        assert_eq!(went.status(), Some(200));
        assert_eq!(page.get_title().await.unwrap().as_deref(), Some("through"));
        assert!(proxy.heads().iter().any(|head| head.contains("/picture") && head.contains(USER)));
        // A page that this one opens is behind the same proxy.
        page.evaluate("window.open('http://other.test/popup', '_blank', 'noopener'); 0")
            .await
            .unwrap();
        soon("the pop-up", async {
            let through = |head: &String| head.contains("/popup") && head.contains(USER);
            while !proxy.heads().iter().any(through) {
                // SLEEP: the pause between two looks.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        // A site that asks gets nothing.
        let went = page.navigate("http://site.test/asks", LONG).await.unwrap();
        assert_eq!(went.status(), Some(401));
        assert!(!proxy.heads().iter().any(|head| head.contains("\nauthorization:")));
        // A wrong one is tried once, and the others have none.
        for options in [with("wrong"), LeaseOptions::new().proxy(&proxy.address)] {
            let asked = |heads: Vec<String>| {
                heads.into_iter().filter(|head| head.contains("site.test/two")).collect::<Vec<_>>()
            };
            let before = asked(proxy.heads()).len();
            let other = soon("a page", pool.page_with(options)).await.unwrap();
            let went = soon("an answer", other.navigate("http://site.test/two", LONG)).await;
            let refused =
                went.is_err() || went.as_ref().is_ok_and(|went| went.status() == Some(407));
            assert!(refused, "{went:?}");
            let heads = asked(proxy.heads());
            assert!(!heads.iter().any(|head| head.contains(USER)), "{heads:#?}");
            assert!(heads.len() - before <= 2, "{heads:#?}");
            drop(other);
        }
        let text = format!("{pool:?} {:?} {:?}", with("secret-word"), page);
        assert!(!text.contains("secret-word"), "{text}");
        page.release();
        until(&pool, "the end of all", |stats| stats.out == 0).await;
        assert_clean_end(pool, &oracle).await;
    }
}

/// What gathers the addresses that a page of a video call would tell its peer.
const GATHER: &str = "new Promise(done => {
    const peer = new RTCPeerConnection({ iceServers: [{ urls: 'stun:ADDRESS' }] });
    peer.createDataChannel('one');
    peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && done(true);
    peer.createOffer().then(offer => peer.setLocalDescription(offer));
})";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_video_call_does_not_go_past_the_proxy() {
    // An address that a page can reach: of the way to the net, where there is one.
    let way = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let host = match way.connect("192.0.2.1:9").await {
        Ok(()) => way.local_addr().unwrap().ip(),
        Err(_) => std::net::Ipv4Addr::LOCALHOST.into(),
    };
    let server = UdpSocket::bind((host, 0)).await.unwrap();
    let script = GATHER.replace("ADDRESS", &server.local_addr().unwrap().to_string());
    for engine in engines() {
        let (oracle, proxy) = (Oracle::new(), Proxy::start().await);
        let config = patient().max_browsers(1).build().unwrap();
        let opened = builder(&engine, &oracle).webrtc_udp(true).build().unwrap();
        let opened = BrowserPool::start(opened, config.clone()).unwrap();
        let closed = pool(&engine, &oracle, config);
        let proxied = LeaseOptions::new().proxy(&proxy.address).proxy_credentials("user", "word");
        let refused = opened.page_with(proxied.clone()).await;
        assert!(
            matches!(refused, Err(AcquireError::BadOption { option: "proxy", .. })),
            "{refused:?}"
        );
        // The first shows that the server would see it.
        let plain = LeaseOptions::new();
        for (pool, with, goes_past) in [(opened, plain, true), (closed, proxied, false)] {
            let page = soon("a page", pool.page_with(with)).await.unwrap();
            if !goes_past {
                page.navigate("http://site.test/one", LONG).await.unwrap();
            }
            let mut asked = [0; 1500];
            let gathered = page.run(LONG, page.evaluate(script.as_str()));
            let went_past = tokio::select! {
                biased;
                _ = server.recv_from(&mut asked) => true,
                // Everything was sent when everything is gathered.
                gathered = gathered => {
                    gathered.unwrap().unwrap();
                    server.try_recv_from(&mut asked).is_ok()
                }
            };
            assert_eq!(went_past, goes_past, "{engine:?}");
            page.release();
            until(&pool, "the end of all", |stats| stats.out == 0).await;
            assert!(pool.drain(LONG).await.is_clean());
            // What the browser had sent again before its end.
            while server.try_recv_from(&mut asked).is_ok() {}
        }
        oracle.assert_nothing();
    }
}
