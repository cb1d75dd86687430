//! A web server on the loopback with the pages that hurt.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Ends with the test.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(answer(stream));
            }
        });
        Self { address, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&request).into_owned();
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let html = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let response = match path.as_str() {
        "/hang" => std::future::pending().await,
        path if path.starts_with("/slow/") => {
            let millis = path["/slow/".len()..].parse().unwrap();
            // SLEEP: this server is as slow as it is asked to be.
            tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
            html("<title>slow</title>")
        }
        "/worker.js" => {
            html("self.onactivate = () => {}").replacen("text/html", "text/javascript", 1)
        }
        "/missing" => html("<title>none</title>").replacen("200 OK", "404 Not Found", 1),
        "/moved" => "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
            .to_owned(),
        "/dialog" => html("<title>dialog</title><script>alert('stop')</script>"),
        "/download" => "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename=file.bin\r\nContent-Length: 5\r\n\
             Connection: close\r\n\r\nhello"
            .to_owned(),
        "/tall" => html(
            "<title>tall</title><body style='margin:0'><div style='height:3000px;width:100px'></div>\
             <b id=box style='position:absolute;left:40px;top:2000px;width:120px;height:80px'></b>",
        ),
        "/links" => html("<a id=load href=/download>load</a><a id=hold href=/held>hold</a>"),
        "/held" => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
                 Content-Disposition: attachment; filename=\"../../h.bin\"\r\nContent-Length: 9\r\n\r\nhe";
            drop(stream.write_all(head.as_bytes()).await);
            std::future::pending().await
        }
        "/set" => {
            let page = html("<title>set</title><script>localStorage.setItem('k', 'v')</script>");
            page.replacen("\r\n", "\r\nSet-Cookie: c=1\r\n", 1)
        }
        _ => html(&format!("<title>page {path}</title><p>hello</p>")),
    };
    drop(stream.write_all(response.as_bytes()).await);
    drop(stream.shutdown().await);
}
