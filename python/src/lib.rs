//! The native half of the Python package `amochats`: the module `amochats._amochats`.
//!
//! Thin on purpose: arguments in, one call of the core, results and errors out. The public functions
//! with their documentation, the exceptions and the event classes are Python, in `python/amochats`.

#[cfg(feature = "runtime")]
mod admin;
mod arguments;
#[cfg(all(target_os = "linux", not(feature = "runtime")))]
mod backtrace;
#[cfg(feature = "runtime")]
mod bridge;
#[cfg(feature = "runtime")]
mod channel;
#[cfg(feature = "runtime")]
mod client;
#[cfg(feature = "runtime")]
mod consumer;
#[cfg(feature = "runtime")]
mod crm;
mod errors;
mod gate;
#[cfg(feature = "runtime")]
mod logs;
#[cfg(feature = "runtime")]
mod media;
mod records;
#[cfg(feature = "sandbox")]
mod sandbox;
#[cfg(feature = "runtime")]
mod widget;

use amochats::{Error, ErrorKind, HistoryPage, NewMessage, VerifiedBody};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// From this many bytes on, other Python threads run while the core works. Below, a thread that let
/// go of the interpreter would wait longer to get it back; `hashlib` draws the line at the same size.
const DETACH_FROM: usize = 2048;

/// The border that every call crosses: a panic becomes an error, an error its Python exception.
fn call<T: Send>(
    py: Python<'_>,
    size: usize,
    work: impl FnOnce() -> amochats::Result<T> + Send,
) -> PyResult<T> {
    let work = || {
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Panic, "amochats stopped at a bug of its own")))
    };
    let result = if size < DETACH_FROM { work() } else { py.detach(work) };
    result.map_err(|error| errors::to_python(py, &error))
}

#[pyfunction]
fn sign_body(py: Python<'_>, secret: &Bound<'_, PyAny>, body: &Bound<'_, PyAny>) -> PyResult<String> {
    let secret = arguments::secret("secret", secret)?;
    let body = arguments::bytes("body", body)?;
    let body = body.as_bytes();
    call(py, body.len(), || Ok(amochats::sign_body(&secret, body)))
}

#[pyfunction]
fn sign_request<'py>(
    py: Python<'py>,
    secret: &Bound<'py, PyAny>,
    method: &Bound<'py, PyAny>,
    path: &Bound<'py, PyAny>,
    body: &Bound<'py, PyAny>,
    date: &Bound<'py, PyAny>,
    content_type: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let secret = arguments::secret("secret", secret)?;
    let method = arguments::text("method", method)?;
    let path = arguments::text("path", path)?;
    let body = arguments::bytes("body", body)?;
    let date = arguments::text("date", date)?;
    let content_type = arguments::text("content_type", content_type)?;
    let body = body.as_bytes();
    let headers =
        call(py, body.len(), || amochats::sign_request(&secret, method, path, content_type, date, body))?;
    let dict = PyDict::new(py);
    for (name, value) in headers.iter() {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

/// Writes a time, given in Unix seconds, as the `Date` header.
#[pyfunction]
fn format_date(py: Python<'_>, seconds: i64) -> PyResult<String> {
    call(py, 0, || {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        };
        amochats::format_date(time.ok_or_else(|| Error::invalid("date", "is outside the calendar"))?)
    })
}

#[pyfunction]
fn verify_webhook(
    py: Python<'_>,
    secrets: &Bound<'_, PyAny>,
    body: &Bound<'_, PyAny>,
    signature: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let secrets = arguments::secrets("secrets", secrets)?;
    let body = arguments::bytes("body", body)?;
    let signature = arguments::signature("signature", signature)?;
    let body = body.as_bytes();
    call(py, body.len(), || amochats::verify_webhook(&secrets, body, signature.as_deref()).map(drop))
}

/// The verdict's name and sentence.
#[pyfunction]
fn diagnose_signature(
    py: Python<'_>,
    secrets: &Bound<'_, PyAny>,
    body: &Bound<'_, PyAny>,
    signature: &Bound<'_, PyAny>,
    expired: &Bound<'_, PyAny>,
) -> PyResult<(&'static str, String)> {
    let secrets = arguments::secrets("secrets", secrets)?;
    let body = arguments::bytes("body", body)?;
    let signature = arguments::signature("signature", signature)?;
    let expired = arguments::secrets("expired", expired)?;
    let body = body.as_bytes();
    let verdict = call(py, body.len(), || {
        Ok(amochats::diagnose_signature(&secrets, &expired, body, signature.as_deref()))
    })?;
    Ok((verdict.name(), verdict.to_string()))
}

/// The event, an object of one of the `shapes` by its kind.
#[pyfunction]
fn parse_webhook<'py>(body: &Bound<'py, PyAny>, shapes: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    let body = arguments::bytes("body", body)?;
    let raw = body.as_bytes();
    let (kind, fields) = call(body.py(), raw.len(), || {
        let event = amochats::parse_webhook(VerifiedBody::trust(raw))?;
        Ok((event.kind.name(), event.fields()))
    })?;
    records::event(shapes, kind, &mut fields.into_iter(), body)
}

/// The same as the stable JSON.
#[pyfunction]
fn webhook_json<'py>(body: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let body = arguments::bytes("body", body)?;
    let raw = body.as_bytes();
    let json = call(body.py(), raw.len(), || {
        let event = amochats::parse_webhook(VerifiedBody::trust(raw))?;
        Ok(serde_json::to_vec(&event).expect("an event has text keys and finite numbers only"))
    })?;
    Ok(PyBytes::new(body.py(), &json))
}

#[pyfunction]
fn encode_message<'py>(py: Python<'py>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let message = arguments::bytes("message", message)?;
    let message = message.as_bytes();
    let body = call(py, message.len(), || NewMessage::from_json(message)?.to_json())?;
    Ok(PyBytes::new(py, &body))
}

#[pyfunction]
fn encode_request<'py>(
    py: Python<'py>,
    name: &Bound<'py, PyAny>,
    request: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let name = arguments::text("call", name)?;
    let request = arguments::bytes("request", request)?;
    let request = request.as_bytes();
    let body = call(py, request.len(), || amochats::encode_request(name, request))?;
    Ok(PyBytes::new(py, &body))
}

/// The page as its stable JSON.
#[pyfunction]
fn parse_history<'py>(py: Python<'py>, body: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let body = arguments::bytes("body", body)?;
    let body = body.as_bytes();
    let json = call(py, body.len(), || {
        let page = HistoryPage::from_json(body)?;
        Ok(serde_json::to_vec(&page).expect("a page has text keys and finite numbers only"))
    })?;
    Ok(PyBytes::new(py, &json))
}

/// Every kind's name and number, for the test that no kind lacks an exception.
#[pyfunction]
fn _error_kinds() -> Vec<(&'static str, u32)> {
    ErrorKind::ALL.iter().map(|kind| (kind.name(), kind.code())).collect()
}

/// Fails with the kind of this number across the same border as every call, for the same test.
#[pyfunction]
fn _fail(py: Python<'_>, code: u32) -> PyResult<()> {
    call(py, 0, || match ErrorKind::from_code(code) {
        None => Ok(()),
        Some(ErrorKind::Panic) => panic!("asked for by a test"),
        Some(kind) => Err(Error::new(kind, "asked for by a test")
            .with_field("payload.x")
            .with_http_status(429)
            .with_retry_after(Duration::from_millis(1500))),
    })
}

/// Stops what could still touch the interpreter; `atexit` calls it.
#[cfg(not(feature = "runtime"))]
#[pyfunction]
fn _shutdown(py: Python<'_>) {
    if gate::close() {
        py.detach(|| gate::wait_for_all(Duration::from_secs(3)));
    }
}

/// Refuses all interpreters of the process but the first: they would share one runtime.
fn only_interpreter(py: Python<'_>) -> PyResult<()> {
    static MODULES: OnceLock<usize> = OnceLock::new();
    let modules = py.import("sys")?.getattr("modules")?.as_ptr().addr();
    if *MODULES.get_or_init(|| modules) == modules {
        return Ok(());
    }
    Err(PyImportError::new_err("amochats works in one interpreter of a process; use processes instead"))
}

#[pymodule]
fn _amochats(module: &Bound<'_, PyModule>) -> PyResult<()> {
    only_interpreter(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(sign_body, module)?)?;
    module.add_function(wrap_pyfunction!(sign_request, module)?)?;
    module.add_function(wrap_pyfunction!(format_date, module)?)?;
    module.add_function(wrap_pyfunction!(verify_webhook, module)?)?;
    module.add_function(wrap_pyfunction!(diagnose_signature, module)?)?;
    module.add_class::<records::Shape>()?;
    module.add_function(wrap_pyfunction!(parse_webhook, module)?)?;
    module.add_function(wrap_pyfunction!(webhook_json, module)?)?;
    module.add_function(wrap_pyfunction!(encode_message, module)?)?;
    module.add_function(wrap_pyfunction!(encode_request, module)?)?;
    module.add_function(wrap_pyfunction!(parse_history, module)?)?;
    module.add_function(wrap_pyfunction!(_error_kinds, module)?)?;
    module.add_function(wrap_pyfunction!(_fail, module)?)?;
    #[cfg(feature = "runtime")]
    add_runtime(module)?;
    #[cfg(not(feature = "runtime"))]
    module.add_function(wrap_pyfunction!(_shutdown, module)?)?;
    module.py().import("atexit")?.call_method1("register", (module.getattr("_shutdown")?,))?;
    Ok(())
}

#[cfg(feature = "runtime")]
fn add_runtime(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<bridge::Call>()?;
    module.add_class::<channel::NativeChannel>()?;
    module.add_class::<client::NativeClient>()?;
    module.add_class::<client::NativeCrmClient>()?;
    module.add_class::<client::NativeStream>()?;
    module.add_class::<consumer::NativeConsumer>()?;
    #[cfg(feature = "sandbox")]
    module.add_class::<sandbox::NativeSandbox>()?;
    module.add_function(wrap_pyfunction!(bridge::start, module)?)?;
    module.add_function(wrap_pyfunction!(bridge::block, module)?)?;
    module.add_function(wrap_pyfunction!(bridge::_shutdown, module)?)
}
