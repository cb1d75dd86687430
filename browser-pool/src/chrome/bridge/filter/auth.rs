//! The answers to proxies that ask for a name and a password.
//!
//! A browser takes them from nowhere but its protocol, request by request, and asks for those of sites in the
//! same way: only a proxy gets what was given for it.

use super::Filter;
use super::message::Params;
use super::traffic::Order;
use crate::proxy::Credentials;
use serde_json::json;
use std::collections::{HashMap, HashSet, VecDeque};

/// Requests whose answer was refused, that are remembered: more than a browser keeps waiting.
const MOST_TRIED: usize = 1024;

/// Who is given a name and a password.
#[derive(Debug, Default)]
pub(super) struct Auth {
    contexts: HashMap<String, Credentials>,
    /// Sessions in which the client itself handles requests.
    theirs: HashSet<String>,
    /// Requests that were answered once.
    tried: VecDeque<String>,
}

impl Auth {
    /// The client handles the requests of this session.
    pub(super) fn leave_to_client(&mut self, session: &str) {
        self.theirs.insert(session.to_owned());
    }

    pub(super) fn forget_session(&mut self, session: &str) {
        self.theirs.remove(session);
    }

    pub(super) fn forget_context(&mut self, context: &str) {
        self.contexts.remove(context);
    }
}

impl Filter {
    /// From now on the proxy of this context is answered so.
    pub(in crate::chrome::bridge) fn authenticate(
        &mut self,
        context: String,
        credentials: Credentials,
    ) {
        self.auth.contexts.insert(context, credentials);
    }

    /// What makes the browser ask, for a session that begins in a context with a password.
    pub(super) fn ask_for_auth(&self, session: &str, context: Option<&str>) -> Option<Order> {
        self.auth.contexts.get(context?)?;
        let params = json!({ "handleAuthRequests": true });
        Some(Order { session: session.to_owned(), method: "Fetch.enable", params })
    }

    /// The client handles the requests of this session.
    pub(in crate::chrome::bridge) fn leave_to_client(&mut self, session: &str) {
        self.auth.leave_to_client(session);
    }

    /// The client is done with the requests of this session: what sets them as they were.
    pub(in crate::chrome::bridge) fn take_from_client(&mut self, session: &str) -> Order {
        self.auth.forget_session(session);
        let attached = self.targets.get(session);
        let context = attached.and_then(|attached| attached.context.as_deref());
        self.ask_for_auth(session, context).unwrap_or_else(|| Order {
            session: session.to_owned(),
            method: "Fetch.disable",
            params: json!({}),
        })
    }

    /// Lets a request go on that was paused because the browser asks, unless the client has paused it.
    pub(super) fn go_on(&self, session: &str, params: Params) -> Option<Order> {
        let context = self.targets.get(session)?.context.as_deref()?;
        if self.auth.theirs.contains(session) || !self.auth.contexts.contains_key(context) {
            return None;
        }
        let params = json!({ "requestId": params.request_id? });
        Some(Order { session: session.to_owned(), method: "Fetch.continueRequest", params })
    }

    /// The answer to a request of this session that wants a password, unless the client gives it.
    pub(super) fn answer_auth(&mut self, session: &str, params: Params) -> Option<Order> {
        let request = params.request_id?;
        let from_proxy = params.auth_challenge?.source.as_deref() == Some("Proxy");
        let context = self.targets.get(session)?.context.as_deref()?;
        let Credentials { user, password } = self.auth.contexts.get(context)?;
        let response = if !from_proxy {
            if self.auth.theirs.contains(session) {
                return None;
            }
            // The page shows what the site says then, as it does without a proxy.
            json!({ "response": "CancelAuth" })
        } else if self.auth.tried.contains(&request) {
            // It was wrong.
            json!({ "response": "CancelAuth" })
        } else {
            json!({ "response": "ProvideCredentials", "username": user, "password": password })
        };
        self.auth.tried.push_back(request.clone());
        if self.auth.tried.len() > MOST_TRIED {
            self.auth.tried.pop_front();
        }
        let params = json!({ "requestId": request, "authChallengeResponse": response });
        Some(Order { session: session.to_owned(), method: "Fetch.continueWithAuth", params })
    }
}
