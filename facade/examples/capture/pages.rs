//! The pages that are captured: what the server answers to a path, pure.

use std::fmt::Write as _;
use std::time::Duration;

/// What the server does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This page, after this time.
    Page(Duration, String),
    /// Nothing, until the client goes away.
    Never,
    /// There is no such page.
    NotFound,
}

/// The answer to the `visit`-th request for `path`, from 1.
pub(crate) fn answer(path: &str, visit: u32) -> Answer {
    let mut parts = path.trim_start_matches('/').split('/');
    let (kind, number) = (parts.next().unwrap_or(""), parts.next());
    let Some(n) = number.and_then(|number| number.parse::<u32>().ok()) else {
        return Answer::NotFound;
    };
    let now = Duration::ZERO;
    match kind {
        "page" => Answer::Page(now, page(n, "at once")),
        "slow" => {
            let late = Duration::from_millis(900 + u64::from(n % 7) * 150);
            Answer::Page(late, page(n, "after a while"))
        }
        "hangs-once" if visit > 1 => Answer::Page(now, page(n, "at the second attempt")),
        "hangs-once" | "hangs" => Answer::Never,
        _ => Answer::NotFound,
    }
}

/// The title of page `n`, which every capture must have read.
pub(crate) fn title(n: u32) -> String {
    format!("Page {n}")
}

/// A page that can be told from the others in a thumbnail.
fn page(n: u32, when: &str) -> String {
    let hue = n * 47 % 360;
    let mut bars = String::new();
    for k in 0..9_u32 {
        let height = 20 + (n * 31 + k * 53) % 80;
        let _ = write!(bars, "<i style=\"height:{height}%\"></i>");
    }
    let title = title(n);
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>\
         body{{margin:0;height:100vh;display:grid;grid-template-rows:auto 1fr;\
         font:28px system-ui,sans-serif;background:hsl({hue} 45% 95%);color:hsl({hue} 45% 18%)}}\
         header{{padding:40px 56px 0}}h1{{font-size:88px;margin:0;letter-spacing:-.03em}}\
         p{{margin:.3em 0 0}}main{{display:flex;align-items:flex-end;gap:14px;padding:32px 56px 56px}}\
         i{{flex:1;border-radius:8px 8px 0 0;background:hsl({hue} 60% 55%)}}\
         i:nth-child(3n){{background:hsl({hue} 60% 38%)}}</style>\
         <header><h1>{title}</h1><p>Answered {when}.</p></header><main>{bars}</main>"
    )
}

/// The head and body of a response.
pub(crate) fn response(answer: &Answer) -> Option<Vec<u8>> {
    let (status, body) = match answer {
        Answer::Page(_, body) => ("200 OK", body.as_str()),
        Answer::NotFound => ("404 Not Found", "there is no such page\n"),
        Answer::Never => return None,
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    Some([head.as_bytes(), body.as_bytes()].concat())
}

/// The path of a request, once its head is complete.
pub(crate) fn requested(head: &[u8]) -> Option<String> {
    let end = head.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&head[..end]);
    let target = head.lines().next()?.split(' ').nth(1)?;
    Some(target.split('?').next().unwrap_or(target).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_page_behaves_as_it_is_called() {
        let Answer::Page(late, body) = answer("/page/5", 1) else {
            panic!("no page");
        };
        assert_eq!(late, Duration::ZERO);
        assert!(body.contains("<title>Page 5</title>"));
        assert!(matches!(answer("/slow/5", 1), Answer::Page(late, _) if !late.is_zero()));
        assert_eq!(answer("/hangs/5", 9), Answer::Never);
        assert_eq!(answer("/hangs-once/5", 1), Answer::Never);
        assert!(matches!(answer("/hangs-once/5", 2), Answer::Page(..)));
        for path in ["/", "/page", "/page/x", "/favicon.ico", "//", ""] {
            assert_eq!(answer(path, 1), Answer::NotFound);
        }
    }

    #[test]
    fn a_request_is_read_when_its_head_is_complete() {
        assert_eq!(requested(b"GET /page/1 HTTP/1.1\r\nhost: x\r\n"), None);
        let path = requested(b"GET /page/1?x=2 HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(path.as_deref(), Some("/page/1"));
        assert_eq!(requested(b"\r\n\r\n"), None);
        assert_eq!(requested(b"\xff\xfe\r\n\r\n"), None);
    }

    #[test]
    fn a_response_says_how_long_it_is() {
        let response = String::from_utf8(response(&answer("/page/5", 1)).unwrap()).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
    }
}
