//! Who is admitted to the bridge.

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
