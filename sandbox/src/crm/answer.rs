//! What the CRM answers: HAL for what went well, problems (RFC 9457) for what did not.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

const HAL: &str = "application/hal+json";
const PROBLEM: &str = "application/problem+json";

/// An answer of the CRM.
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
    headers: Vec<(header::HeaderName, String)>,
}

impl Answer {
    pub(super) fn hal(body: &Value) -> Self {
        Self::with(StatusCode::OK, HAL, body)
    }

    /// Plain JSON, as OAuth and the first generation answer.
    pub(super) fn json(body: &Value) -> Self {
        Self::with(StatusCode::OK, "application/json", body)
    }

    pub(super) fn html(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/html; charset=utf-8",
            body: body.into_bytes(),
            headers: Vec::new(),
        }
    }

    pub(super) fn redirect(location: String) -> Self {
        Self { headers: vec![(header::LOCATION, location)], ..Self::empty(StatusCode::FOUND) }
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, content_type: "", body: Vec::new(), headers: Vec::new() }
    }

    /// The same with another status.
    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    fn with(status: StatusCode, content_type: &'static str, body: &Value) -> Self {
        Self { status, content_type, body: body.to_string().into_bytes(), headers: Vec::new() }
    }

    /// A collection; 204 where there is nothing in it.
    pub(super) fn list(self_href: &str, key: &str, items: &[Value]) -> Self {
        if items.is_empty() {
            return Self::empty(StatusCode::NO_CONTENT);
        }
        Self::hal(&collection(self_href, key, items))
    }

    /// One page of a collection; 204 for a page beyond the last.
    pub(super) fn page(address: &str, page: &Page, key: &str, items: Vec<Value>) -> Self {
        let total = items.len();
        let items: Vec<Value> = items.into_iter().skip(page.skipped()).take(page.limit).collect();
        if items.is_empty() {
            return Self::empty(StatusCode::NO_CONTENT);
        }
        let href = |number: usize| json!({ "href": format!("{address}?page={number}&limit={}", page.limit) });
        let mut links = json!({ "self": href(page.number) });
        if page.skipped() + items.len() < total {
            links["next"] = href(page.number + 1);
        }
        if page.number > 1 {
            links["prev"] = href(page.number - 1);
        }
        Self::hal(&json!({ "_page": page.number, "_links": links, "_embedded": { key: items } }))
    }
}

/// A collection that is not cut into pages.
pub(super) fn collection(self_href: &str, key: &str, items: &[Value]) -> Value {
    json!({ "_total_items": items.len(), "_links": { "self": { "href": self_href } }, "_embedded": { key: items } })
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if !self.content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// Which page of a list is asked for.
pub(super) struct Page {
    number: usize,
    limit: usize,
}

impl Page {
    /// Reads `page` and `limit`.
    pub(super) fn of(cx: &super::Context<'_>, max: usize) -> Result<Self, Problem> {
        let number = |name: &str, default: usize, max: usize| match cx.value(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=max).contains(number))
                .ok_or_else(|| Problem::field("0", "InvalidValue", name, format!("must be 1 to {max}"))),
        };
        Ok(Self { number: number("page", 1, 1_000_000)?, limit: number("limit", max, max)? })
    }

    fn skipped(&self) -> usize {
        (self.number - 1) * self.limit
    }
}

/// Why a call is refused.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// For the journal, and for programs that test against the sandbox.
    pub(super) name: &'static str,
    detail: String,
    /// What stands beside the usual four.
    members: Box<Map<String, Value>>,
    retry_after: Option<u32>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, name: &'static str, detail: impl Into<String>) -> Self {
        Self { status, name, detail: detail.into(), members: Box::default(), retry_after: None }
    }

    /// One field of one item.
    pub(super) fn field(request_id: &str, code: &str, path: &str, detail: impl Into<String>) -> Self {
        let error = json!({ "code": code, "path": path, "detail": detail.into() });
        Self::validation(vec![json!({ "request_id": request_id, "errors": [error] })])
    }

    /// Items of a batch with their fields at fault.
    pub(super) fn validation(errors: Vec<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation", "Request validation failed")
            .member("validation-errors", errors)
    }

    /// Items of a batch that are not there, in the form of `DELETE /api/v4/sources`.
    pub(super) fn items_not_found(what: &str, missing: &[(String, i64)]) -> Self {
        let errors: Vec<Value> = missing
            .iter()
            .map(|(request_id, id)| {
                let detail = format!("{what} with id = {id} not found");
                json!({
                    "request_id": request_id,
                    "errors": { "code": "EntityNotFound", "path": "id", "detail": detail },
                })
            })
            .collect();
        Self::new(StatusCode::BAD_REQUEST, "entity_not_found", "Invalid request items")
            .member("errors", errors)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what} of this id"))
    }

    pub(super) fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    pub(super) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// What the journal says: the fields at fault, too.
    pub(super) fn sentence(&self) -> String {
        let fields = ["validation-errors", "errors"].into_iter().filter_map(|name| self.members.get(name));
        fields.fold(self.detail.clone(), |said, errors| format!("{said}: {errors}"))
    }

    pub(super) fn into_answer(self) -> Answer {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut body = *self.members;
        body.insert("title".into(), title.into());
        body.insert("type".into(), format!("https://httpstatus.es/{}", self.status.as_u16()).into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.into());
        let mut answer = Answer::with(self.status, PROBLEM, &Value::Object(body));
        if let Some(seconds) = self.retry_after {
            answer.headers.push((header::RETRY_AFTER, seconds.to_string()));
        }
        answer
    }
}
