//! From `amochats::Error` to the exceptions of `amochats.exceptions`.

use crate::gate;
use amochats::{Error, ErrorKind};
use pyo3::exceptions::{PyOSError, PyTypeError, PyUnicodeError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use std::error::Error as _;
use std::io;

import_exception!(asyncio, CancelledError);

macro_rules! exceptions {
    ($($kind:ident => $class:ident,)*) => {
        $(import_exception!(amochats.exceptions, $class);)*

        fn class(py: Python<'_>, kind: ErrorKind) -> Bound<'_, PyType> {
            match kind {
                $(ErrorKind::$kind => py.get_type::<$class>(),)*
                // A kind without a class is a bug, which the test that walks all kinds finds.
                _ => py.get_type::<InternalError>(),
            }
        }
    };
}

exceptions! {
    Panic => InternalError,
    InvalidArgument => InvalidArgumentError,
    ConfigInvalid => ConfigError,
    Closed => ClosedError,
    QueueFull => QueueFullError,
    Misuse => MisuseError,
    Forked => ForkedError,
    StoreFailed => StoreError,
    StoreFull => StoreFullError,
    StoreLocked => StoreLockedError,
    LeaseLost => LeaseLostError,
    SubscriptionNotFound => SubscriptionNotFoundError,
    Unauthenticated => UnauthenticatedError,
    SignatureMissing => SignatureMissingError,
    SignatureMismatch => SignatureMismatchError,
    MalformedWebhook => MalformedWebhookError,
    BodyTooLarge => BodyTooLargeError,
    UnknownChannel => UnknownChannelError,
    Rejected => RejectedError,
    Forbidden => ForbiddenError,
    NotFound => NotFoundError,
    RateLimited => RateLimitedError,
    Unavailable => UnavailableError,
    UnexpectedResponse => UnexpectedResponseError,
    Timeout => RequestTimeoutError,
    Transport => TransportError,
}

/// The exception that stands for this error in Python.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let _inside = gate::enter(py);
    exception(py, error)
}

/// The same for a thread that is inside the gate already, or need not go through it.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::NullPointer => PyTypeError::new_err(message),
        ErrorKind::InvalidUtf8 => PyUnicodeError::new_err(message),
        ErrorKind::Cancelled => CancelledError::new_err(message),
        kind => {
            let made =
                build(&class(py, kind), &message, error).map_or_else(|failed| failed, PyErr::from_value);
            made.set_cause(py, os_error(error));
            made
        }
    }
}

/// What the system said, if it did.
fn os_error(error: &Error) -> Option<PyErr> {
    let said = error.source()?.downcast_ref::<io::Error>()?;
    Some(PyOSError::new_err((said.raw_os_error(), said.to_string())))
}

fn build<'py>(class: &Bound<'py, PyType>, message: &str, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let details = PyDict::new(class.py());
    details.set_item("field", error.field())?;
    details.set_item("http_status", error.http_status())?;
    details.set_item("retry_after", error.retry_after().map(|delay| delay.as_secs_f64()))?;
    class.call((message,), Some(&details))
}
