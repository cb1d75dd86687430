//! The frame around every page, and how pages, refusals and redirects are sent.

use super::body::Body;
use super::html::Html;
use super::{Shared, Snapshot};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// Nothing from elsewhere, nothing inline, nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// On every response. `same-origin` keeps the header `Origin` on orders, which `no-referrer` would empty.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(super) const CSS: &str = include_str!("console.css");
pub(super) const SCRIPT: &str = include_str!("console.js");

/// A response with the headers that all have.
pub(super) fn response(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Sends the browser on, so that a reload does not repeat an order.
pub(super) fn see_other(to: &str) -> Response<Body> {
    let mut response =
        response(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Body::whole(""));
    // An address is made of encoded parts; one that still does not fit leads to nowhere.
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

impl Shared {
    /// A whole page. `title` is text.
    pub(super) fn page(&self, status: StatusCode, title: &str, content: &Html) -> Response<Body> {
        let mut html = Html::new();
        html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
        html.text(title).raw(" · ").text(&self.name);
        html.raw(
            "</title><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
        );
        html.raw("<link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"");
        html.text(&self.base).raw("/console.css\"><script defer src=\"").text(&self.base);
        html.raw("/console.js\"></script></head><body data-base=\"").text(&self.base);
        html.raw("\"><a class=\"skip\" href=\"#main\">Skip to the content</a><header><h1>");
        html.text(&self.name).raw("</h1><nav aria-label=\"Pages\">");
        html.add(&Html::link(format_args!("{}/", self.base), "Overview"));
        #[cfg(feature = "work-runner")]
        if self.store.is_some() {
            html.add(&Html::link(format_args!("{}/jobs", self.base), "Jobs"));
        }
        html.raw("</nav><span class=\"quiet\">");
        html.raw(if self.guard.may_order { "takes orders" } else { "read-only" });
        html.raw("</span><span id=\"beat\" class=\"quiet\" role=\"status\"></span></header>");
        html.raw("<main id=\"main\" tabindex=\"-1\">").add(content).raw("</main></body></html>");
        response(status, "text/html; charset=utf-8", Body::whole(html.into_string()))
    }

    /// The page that events keep up to date.
    pub(super) fn overview(&self, snapshot: &Snapshot) -> Response<Body> {
        let mut html = Html::new();
        for (name, section) in &snapshot.sections {
            html.raw("<section data-live=\"").raw(name).raw("\">").add(section).raw("</section>");
        }
        self.page(StatusCode::OK, "Overview", &html)
    }

    /// A page that says why there is no other one.
    pub(super) fn says(&self, status: StatusCode, why: &str) -> Response<Body> {
        let mut html = Html::new();
        html.raw("<p class=\"bad\" role=\"alert\">").text(why).raw("</p>");
        self.page(status, status.canonical_reason().unwrap_or("Refused"), &html)
    }

    /// Asks for the token.
    pub(super) fn sign_in(&self, status: StatusCode, why: &'static str) -> Response<Body> {
        let mut html = Html::new();
        html.raw("<p role=\"status\">").raw(why).raw("</p><form method=\"post\" action=\"");
        html.text(&self.base).raw("/login\"><label>Token <input type=\"password\" name=\"token\" ");
        html.raw("autocomplete=\"current-password\" required autofocus></label> ");
        html.raw("<button>Sign in</button></form>");
        self.page(status, "Sign in", &html)
    }
}
