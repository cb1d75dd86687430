//! From a request to its answer: the guard, then one page.

use super::body::Body;
use super::form::Form;
use super::guard::Refusal;
use super::page::{CSS, SCRIPT, response, see_other};
use super::{Console, Shared, events};
use hyper::body::{Body as HttpBody, Buf};
use hyper::header::{ALLOW, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The longest form that is read, in bytes.
const FORM: usize = 8 * 1024;
/// How long a form may take to come.
const FORM_TIME: Duration = Duration::from_secs(10);

impl Console {
    /// Answers; events end with `server`.
    pub(super) async fn respond<B: HttpBody>(
        &self,
        request: Request<B>,
        server: watch::Receiver<bool>,
    ) -> Response<Body> {
        let shared = &self.shared;
        let (parts, body) = request.into_parts();
        let path = shared.path(&parts);
        if let Err(refusal) = shared.guard.check(&parts, path) {
            return match refusal {
                Refusal::Token => shared.sign_in(refusal.status(), refusal.why()),
                _ => shared.says(refusal.status(), refusal.why()),
            };
        }
        if parts.method == Method::POST {
            return match path {
                "/login" => match read(body).await {
                    Ok(form) => shared.login(&form),
                    Err(refused) => shared.says(refused.0, refused.1),
                },
                #[cfg(feature = "work-runner")]
                "/order" => match read(body).await {
                    Ok(form) => shared.order(&form).await,
                    Err(refused) => shared.says(refused.0, refused.1),
                },
                _ => shared.not_found(),
            };
        }
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut refused = shared.says(status, "The console knows GET, HEAD and POST.");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            return refused;
        }
        shared.show(&parts, path, server).await
    }
}

impl Shared {
    /// The path below the base. A server that nests the console may have taken the base away.
    fn path<'a>(&self, parts: &'a Parts) -> &'a str {
        let path = parts.uri.path();
        match path.strip_prefix(&*self.base) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }

    async fn show(
        self: &Arc<Self>,
        parts: &Parts,
        path: &str,
        server: watch::Receiver<bool>,
    ) -> Response<Body> {
        const EVENTS: &str = "text/event-stream";
        match path {
            "/" => self.overview(&*self.snapshot().await),
            "/console.css" => response(StatusCode::OK, "text/css; charset=utf-8", Body::whole(CSS)),
            "/console.js" => {
                response(StatusCode::OK, "text/javascript; charset=utf-8", Body::whole(SCRIPT))
            }
            "/events" if parts.method == Method::HEAD => {
                response(StatusCode::OK, EVENTS, Body::whole(""))
            }
            "/events" => match events::feed(self, server) {
                Some(body) => response(StatusCode::OK, EVENTS, body),
                None => {
                    self.says(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open already.")
                }
            },
            "/login" if self.guard.token.is_some() => {
                self.sign_in(StatusCode::OK, "This console asks for a token.")
            }
            #[cfg(feature = "work-runner")]
            "/jobs" => self.jobs(&Form::parse(parts.uri.query().unwrap_or_default())).await,
            #[cfg(feature = "work-runner")]
            "/confirm" => self.confirm(&Form::parse(parts.uri.query().unwrap_or_default())),
            #[cfg(feature = "work-runner")]
            path => match path.strip_prefix("/jobs/").and_then(|id| id.parse().ok()) {
                Some(id) => {
                    let form = Form::parse(parts.uri.query().unwrap_or_default());
                    self.job(lastout_work_runner::JobId(id), &form).await
                }
                None => self.not_found(),
            },
            #[cfg(not(feature = "work-runner"))]
            _ => self.not_found(),
        }
    }

    pub(super) fn not_found(&self) -> Response<Body> {
        self.says(StatusCode::NOT_FOUND, "There is no such page.")
    }

    fn login(&self, form: &Form) -> Response<Body> {
        let Some(token) = &self.guard.token else { return self.not_found() };
        if !form.value("token").is_some_and(|shown| token.is(shown.as_bytes())) {
            return self.sign_in(StatusCode::UNAUTHORIZED, "That is not the token.");
        }
        let mut response = see_other(&format!("{}/", self.base));
        let path = if self.base.is_empty() { "/" } else { &self.base };
        let (name, token) = (&self.guard.cookie, token.text());
        let cookie = format!("{name}={token}; Path={path}; HttpOnly; SameSite=Strict");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        response
    }
}

/// Reads a form that is short and comes in time.
async fn read<B: HttpBody>(body: B) -> Result<Form, (StatusCode, &'static str)> {
    let late = (StatusCode::REQUEST_TIMEOUT, "The form did not come in time.");
    let bytes = tokio::time::timeout(FORM_TIME, collect(body)).await.unwrap_or(Err(late))?;
    Ok(Form::parse(&String::from_utf8_lossy(&bytes)))
}

async fn collect<B: HttpBody>(body: B) -> Result<Vec<u8>, (StatusCode, &'static str)> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "The form broke off."))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > FORM - bytes.len() {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "The form is too long."));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            let length = chunk.len();
            bytes.extend_from_slice(chunk);
            data.advance(length);
        }
    }
    Ok(bytes)
}
