//! Who is admitted to the bridge, and what it carries.

use super::*;

#[tokio::test]
async fn whoever_is_silent_or_wrong_holds_up_nobody() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let client = async {
        assert!(
            connect(&format!("ws://{address}/guess")).await.is_err(),
            "the secret is asked for"
        );
        connect(&format!("ws://{address}/secret")).await.unwrap()
    };
    let both = async { tokio::join!(first_who_knows(&listener, "/secret"), client) };
    let (admitted, _client) =
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("nobody holds it up");
    assert!(admitted.is_some());
}

#[tokio::test]
async fn a_burst_arrives_whole_and_in_order() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("ws://{}/secret", listener.local_addr().unwrap());
    let (admitted, client) = tokio::join!(first_who_knows(&listener, "/secret"), connect(&address));
    let (socket, mut client) = (admitted.unwrap(), client.unwrap());
    let (mut browser, from) = pipe::pipe().unwrap();
    let (to, _nobody_reads) = pipe::pipe().unwrap();
    let (router, called) = Router::new(Duration::from_secs(600));
    let (news, mut told) = mpsc::unbounded_channel();
    let event = |n: usize| format!(r#"{{"method":"Some.event","params":{{"n":{n}}}}}"#);
    let attached = r#"{"method":"Target.attachedToTarget","params":{"sessionId":"s","targetInfo":{"targetId":"t"}}}"#;
    let crash = r#"{"method":"Target.targetCrashed","params":{"targetId":"t"}}"#;
    // More than goes with one write, and the crash in the middle brings messages of the filter with it.
    let half = MOST_AT_ONCE + MOST_AT_ONCE / 2;
    let mut sent = vec![attached.to_owned()];
    sent.extend((0..half).map(event));
    sent.push(crash.to_owned());
    sent.extend((half..2 * half).map(event));
    let bytes = sent.join("\0") + "\0";
    let talk = async move {
        browser.write_all(bytes.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while seen.last() != sent.last() {
            seen.push(client.next().await.unwrap().unwrap().into_text().unwrap().to_string());
        }
        assert_eq!(told.recv().await, Some(News::PageCrashed("t".into())));
        let at = seen.iter().position(|text| text == crash).unwrap();
        let added: Vec<_> = seen.splice(at + 1..at + 5, []).collect();
        assert!(added.iter().all(|text| text.contains(r#""sessionId":"s""#)), "{added:?}");
        assert_eq!(seen, sent);
        // The end of the browser ends the bridge.
        drop(browser);
        client.next().await
    };
    let carried = carry(socket, PipeReader::new(from), PipeWriter(to), router, called, news);
    let both = async { tokio::join!(carried, talk) };
    let (loss, _) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("no hang");
    assert_eq!(loss, Loss::Disconnected);
}
