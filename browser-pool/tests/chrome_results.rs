//! What pages give: pictures, PDFs, downloads, and what keeps a user signed in.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, Server, assert_clean_end, engines, patient, pool, soon};
use lastout_browser_pool::{Isolation, LeaseOptions, Loss, OpError, Pdf, Screenshot, StorageState};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Width and height of a PNG, from its header.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG"), "{:?}", &png[..png.len().min(8)]);
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// A writer that is full at once.
struct Full;

impl tokio::io::AsyncWrite for Full {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::ErrorKind::StorageFull.into()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_shows_the_window_the_page_or_an_element_and_keeps_its_limits() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(1).build().unwrap());
        let page = soon("a page", pool.page()).await.unwrap();
        page.navigate(server.url("/tall"), LONG).await.unwrap();
        let take = async |picture: Screenshot| {
            let mut png = Vec::new();
            let bytes = page.capture(&picture, &mut png, LONG).await?;
            assert_eq!(bytes, png.len() as u64);
            Ok::<_, OpError>(png)
        };
        let (width, height) = size(&take(Screenshot::png()).await.unwrap());
        assert!(width >= 1000 && height < 1000, "{width} x {height}");
        let whole = take(Screenshot::png().full_page()).await.unwrap();
        assert_eq!(size(&whole), (width, 3000));
        // The page is scrolled, and the element is where it is.
        page.evaluate("window.scrollTo(0, 700)").await.unwrap();
        assert_eq!(size(&take(Screenshot::png().element("#box")).await.unwrap()), (120, 80));
        assert!(take(Screenshot::jpeg(80)).await.unwrap().starts_with(b"\xff\xd8"));
        assert_eq!(&take(Screenshot::webp(80)).await.unwrap()[8..12], b"WEBP");
        for (picture, most) in [
            (Screenshot::png().full_page().max_pixels(1000), 1000),
            (
                Screenshot::png().full_page().max_bytes(whole.len() as u64 - 1),
                whole.len() as u64 - 1,
            ),
        ] {
            let large = take(picture).await;
            assert!(
                matches!(large, Err(OpError::TooLarge { most: told, .. }) if told == most),
                "{large:?}"
            );
        }
        assert!(take(Screenshot::png().full_page().max_bytes(whole.len() as u64)).await.is_ok());
        for nothing in ["#none", "][", "title"] {
            let none = take(Screenshot::png().element(nothing)).await;
            assert!(matches!(none, Err(OpError::Driver(_))), "{nothing}: {none:?}");
        }
        let full = page.capture(&Screenshot::png(), &mut Full, LONG).await;
        assert!(matches!(full, Err(OpError::Write(_))), "{full:?}");
        page.release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pdf_is_written_piece_by_piece_up_to_its_limit() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(1).build().unwrap());
        let context = soon("a context", pool.context()).await.unwrap();
        let page = context.new_page().await.unwrap();
        page.navigate_until(server.url("/tall"), Default::default(), LONG).await.unwrap();
        let pages = |pdf: &[u8]| {
            assert!(pdf.starts_with(b"%PDF-"), "{:?}", &pdf[..pdf.len().min(8)]);
            let text = String::from_utf8_lossy(pdf).into_owned();
            text.matches("/Type /Page\n").count()
        };
        let mut plain = Vec::new();
        let bytes = page.print(&Pdf::new(), &mut plain, LONG).await.unwrap();
        assert_eq!((bytes, pages(&plain)), (plain.len() as u64, 4));
        let mut small = Vec::new();
        let paper = Pdf::new().paper(4.0, 4.0).margins(1.0, 0.5, 1.0, 0.5).landscape().background();
        let paper = paper.scale(0.5).pages("1-2");
        let paper = paper.header_and_footer("<b style='font-size:9px'>top</b>", "<b></b>");
        page.print(&paper, &mut small, LONG).await.unwrap();
        assert_eq!(pages(&small), 2);
        // More than one piece.
        let text = "document.body.append(Array.from({ length: 100000 }, Math.random).join(' ')); 0";
        page.evaluate(text).await.unwrap();
        let mut long = Vec::new();
        let bytes = page.print(&Pdf::new(), &mut long, LONG).await.unwrap();
        assert!(bytes > 1 << 20 && bytes == long.len() as u64, "{bytes}");
        let mut cut = Vec::new();
        let large = page.print(&Pdf::new().max_bytes(1 << 20), &mut cut, LONG).await;
        assert!(matches!(large, Err(OpError::TooLarge { most: 0x10_0000, .. })), "{large:?}");
        assert!(cut.len() <= 1 << 20);
        let wrong = page.print(&Pdf::new().scale(9.0), &mut cut, LONG).await;
        assert!(matches!(wrong, Err(OpError::Driver(_))), "{wrong:?}");
        let full = page.print(&Pdf::new(), &mut Full, LONG).await;
        assert!(matches!(full, Err(OpError::Write(_))), "{full:?}");
        drop(page);
        context.release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_is_awaited_by_its_own_lease_with_its_real_name() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(1).build().unwrap());
        let lease = || async {
            let page =
                soon("a page", pool.page_with(LeaseOptions::new().downloads())).await.unwrap();
            page.navigate(server.url("/links"), LONG).await.unwrap();
            page
        };
        let (page, other) = tokio::join!(lease(), lease());
        let mut downloads = page.watch_downloads().await.unwrap();
        let mut of_other = other.watch_downloads().await.unwrap();
        let click = "document.getElementById('load').click()";
        for _ in 0..2 {
            page.evaluate(click).await.unwrap();
            let file = downloads.next(LONG).await.unwrap();
            assert_eq!((file.name(), file.url()), ("file.bin", &*server.url("/download")));
            assert!(file.path().starts_with(page.downloads().unwrap()));
            assert_eq!(std::fs::read(file.path()).unwrap(), b"hello");
        }
        let none = of_other.next(Duration::from_millis(300)).await;
        assert!(matches!(none, Err(OpError::TimedOut { .. })), "{none:?}");
        // It is the other lease's turn, which has seen those of this one go by.
        other.evaluate(click).await.unwrap();
        assert!(of_other.next(LONG).await.unwrap().path().starts_with(other.downloads().unwrap()));
        // One that never ends, of a site that suggests a path.
        page.evaluate("document.getElementById('hold').click()").await.unwrap();
        let held = downloads.next(Duration::from_millis(300)).await;
        assert!(matches!(held, Err(OpError::TimedOut { .. })), "{held:?}");
        drop(of_other);
        other.release();
        let plain = soon("a page", pool.page()).await.unwrap();
        let refused = plain.watch_downloads().await.map(drop);
        assert!(matches!(refused, Err(OpError::Driver(_))), "{refused:?}");
        plain.release();
        let (lost, report) = tokio::join!(downloads.next(LONG), pool.destroy_all(LONG));
        assert!(matches!(lost, Err(OpError::Lost(Loss::Closed))), "{lost:?}");
        assert!(report.is_clean(), "{report}");
        drop(downloads);
        drop((page, pool));
        oracle.assert_nothing();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_lease_saved_another_has_and_no_third() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        for isolation in [Isolation::Context, Isolation::Page] {
            let config = patient().max_browsers(1).isolation(isolation).build().unwrap();
            let pool = pool(&engine, &oracle, config);
            let seen = "document.cookie + '|' + localStorage.getItem('k') + '|' + localStorage.getItem('other')";
            let first = soon("a page", pool.page()).await.unwrap();
            let nothing = first.save_storage(LONG).await.unwrap();
            assert_eq!(nothing, StorageState::default());
            first.navigate(server.url("/set"), LONG).await.unwrap();
            first.evaluate("document.cookie = 'stays=2; max-age=3600'; localStorage.setItem('other', '\"</script>')").await.unwrap();
            let state = first.save_storage(LONG).await.unwrap();
            first.release();
            // Through a file, as JSON.
            let json = serde_json::to_string(&state).unwrap();
            assert!(json.contains("\"localStorage\":[{\"name\":"), "{json}");
            let read: StorageState = serde_json::from_str(&json).unwrap();
            assert_eq!(format!("{read:?}"), "StorageState { cookies: 2, origins: 1 }");
            let second = soon("a page", pool.page()).await.unwrap();
            second.restore_storage(&read, LONG).await.unwrap();
            let shown: String =
                second.evaluate("location.href").await.unwrap().into_value().unwrap();
            assert_eq!(shown, "about:blank");
            let third = soon("a page", pool.page()).await.unwrap();
            for (page, has) in [(&second, "c=1; stays=2|v|\"</script>"), (&third, "|null|null")] {
                // The server is asked again after the restoration.
                let went = page.navigate(server.url("/plain"), LONG).await.unwrap();
                assert_eq!(went.status(), Some(200));
                let found: String = page.evaluate(seen).await.unwrap().into_value().unwrap();
                assert_eq!(found, has, "{isolation:?}");
            }
            let wrong = r#"{"origins": [{"origin": "file://", "localStorage": []}]}"#;
            let wrong = third.restore_storage(&serde_json::from_str(wrong).unwrap(), LONG).await;
            assert!(matches!(wrong, Err(OpError::Driver(_))), "{wrong:?}");
            second.release();
            third.release();
            assert_clean_end(pool, &oracle).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_without_cookies_is_restored() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(1).build().unwrap());
        let page = soon("a page", pool.page()).await.unwrap();
        page.restore_storage(&StorageState::default(), LONG).await.unwrap();
        let items = serde_json::json!([{ "name": "k", "value": "v" }]);
        let origin = serde_json::json!({ "origin": server.url(""), "localStorage": items });
        let state = serde_json::from_value(serde_json::json!({ "origins": [origin] })).unwrap();
        page.restore_storage(&state, LONG).await.unwrap();
        page.navigate(server.url("/plain"), LONG).await.unwrap();
        assert_eq!(page.save_storage(LONG).await.unwrap(), state);
        page.release();
        assert_clean_end(pool, &oracle).await;
    }
}
