//! Arguments as Python users pass them. A refusal names the argument and the type it has, never its
//! value.

use crate::errors;
use amochats::ChannelSecret;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

/// Raw bytes: `bytes` as they are, a `bytearray` or `memoryview` copied, since its owner may write
/// to it while another thread runs.
pub(crate) fn bytes<'py>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        return Ok(value.py().get_type::<PyBytes>().call1((value,))?.cast_into::<PyBytes>()?);
    }
    if value.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!(
            "{name} must be bytes, not str: pass the raw {name} as bytes, exactly as it is on the wire"
        )));
    }
    Err(wrong_type(name, "bytes, bytearray or memoryview", value))
}

/// Text.
pub(crate) fn text<'a>(name: &str, value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    value.cast::<PyString>().map_err(|_| wrong_type(name, "str", value))?.to_str()
}

/// A signature header. Some servers hand on header bytes that are not UTF-8 as lone surrogates: such
/// a header is to be found wrong like any other, so they are replaced.
pub(crate) fn signature(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if value.is_none() {
        return Ok(None);
    }
    let text = value.cast::<PyString>().map_err(|_| wrong_type(name, "str or None", value))?;
    Ok(Some(text.to_string_lossy().into_owned()))
}

/// A channel secret.
pub(crate) fn secret(name: &str, value: &Bound<'_, PyAny>) -> PyResult<ChannelSecret> {
    ChannelSecret::new(text(name, value)?).map_err(|error| errors::to_python(value.py(), &error))
}

/// A channel secret or several.
pub(crate) fn secrets(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<ChannelSecret>> {
    if value.is_instance_of::<PyString>() {
        return Ok(vec![secret(name, value)?]);
    }
    let wrong = |value| wrong_type(name, "str or an iterable of str", value);
    // Iterating these would give numbers, and an error about numbers.
    if value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>() {
        return Err(wrong(value));
    }
    value
        .try_iter()
        .map_err(|_| wrong(value))?
        .map(|item| secret(&format!("each of {name}"), &item?))
        .collect()
}

fn wrong_type(name: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    match value.get_type().name() {
        Ok(found) => PyTypeError::new_err(format!("{name} must be {expected}, not {found}")),
        Err(error) => error,
    }
}
