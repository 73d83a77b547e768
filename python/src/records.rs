//! Objects of Python's frozen classes, made of the JSON form of what they say.
//!
//! The classes are declared in Python, where their fields have their documentation; a [`Shape`] is what
//! this half knows of one. An object is made without its `__init__`, which would take longer than all the
//! rest: each value is put into its slot by the slot's own descriptor.

use crate::gate;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple, PyType};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;

/// A field of an object of JSON.
pub(crate) type Named = (Cow<'static, str>, Value);

/// How the objects of a class are made.
#[pyclass(frozen, module = "amochats._amochats")]
pub(crate) struct Shape {
    class: Py<PyType>,
    fields: Vec<Field>,
    /// The place of the field for what has no field of its own.
    rest: Option<usize>,
}

struct Field {
    name: String,
    slot: Slot,
    default: Default,
    part: Part,
}

enum Default {
    Required,
    Value(Py<PyAny>),
    Made(Py<PyAny>),
}

/// What a value, or each of a list of them, becomes.
enum Part {
    Plain,
    Record(Py<Shape>),
    Word { class: Py<PyType>, known: HashMap<String, Py<PyAny>> },
}

#[pymethods]
impl Shape {
    /// Each field has its name, whether it is required, its default or what makes that, and the shape or the
    /// enumeration of its values. An `open` class has a field `extra` for what has no field of its own.
    #[new]
    fn new(
        class_: &Bound<'_, PyType>,
        fields: Vec<(String, bool, Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        open: bool,
    ) -> PyResult<Self> {
        let mut shape = Self { class: class_.clone().unbind(), fields: Vec::new(), rest: None };
        for (name, required, default, part) in fields {
            let default = match (required, default.is_callable()) {
                (true, _) => Default::Required,
                (false, true) => Default::Made(default.unbind()),
                (false, false) => Default::Value(default.unbind()),
            };
            if open && name == "extra" {
                shape.rest = Some(shape.fields.len());
            }
            let slot = Slot::of(&class_.getattr(&name)?)?;
            shape.fields.push(Field { name, slot, default, part: Part::of(&part)? });
        }
        Ok(shape)
    }
}

impl Shape {
    /// Where a field is; near the last one, mostly, since both sides have about the same order.
    fn place(&self, name: &str, last: usize) -> Option<usize> {
        let place =
            (last..self.fields.len()).chain(0..last).find(|place| self.fields[*place].name == name)?;
        (self.rest != Some(place)).then_some(place)
    }

    /// Makes an object of what `said` says; `raw` is its field of this name, if it has one.
    fn fill<'py>(
        &self,
        py: Python<'py>,
        said: &mut dyn Iterator<Item = Named>,
        raw: Option<Bound<'py, PyBytes>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut values: Vec<Option<Bound<'py, PyAny>>> = vec![None; self.fields.len()];
        let mut rest = None;
        let mut last = 0;
        for (name, value) in said {
            if let Some(place) = self.place(&name, last) {
                last = place;
                values[place] = Some(self.fields[place].part.make(py, value)?);
            } else if self.rest.is_some() {
                rest.get_or_insert_with(|| PyDict::new(py)).set_item(&*name, plain(py, value)?)?;
            } else {
                return Err(PyTypeError::new_err(format!("{} has no field {name}", self.class)));
            }
        }
        if let (Some(place), Some(rest)) = (self.rest, rest) {
            values[place] = Some(rest.into_any());
        }
        if let (Some(raw), Some(place)) = (raw, self.place("raw", 0)) {
            values[place] = Some(raw.into_any());
        }
        let object = empty(self.class.bind(py))?;
        for (field, value) in self.fields.iter().zip(values) {
            let value = match (value, &field.default) {
                (Some(value), _) => value,
                (None, Default::Value(value)) => value.bind(py).clone(),
                (None, Default::Made(maker)) => maker.bind(py).call0()?,
                (None, Default::Required) => {
                    return Err(PyTypeError::new_err(format!("{} lacks a required field", self.class)));
                }
            };
            field.slot.set(&object, &value)?;
        }
        Ok(object)
    }
}

impl Part {
    fn of(part: &Bound<'_, PyAny>) -> PyResult<Self> {
        if part.is_none() {
            return Ok(Self::Plain);
        }
        if let Ok(shape) = part.cast::<Shape>() {
            return Ok(Self::Record(shape.clone().unbind()));
        }
        let known = part.getattr("_value2member_map_")?.extract()?;
        Ok(Self::Word { class: part.cast::<PyType>()?.clone().unbind(), known })
    }

    fn make<'py>(&self, py: Python<'py>, value: Value) -> PyResult<Bound<'py, PyAny>> {
        match (self, value) {
            (Self::Plain, value) => plain(py, value),
            (_, Value::Array(items)) => {
                let made = items.into_iter().map(|item| self.make(py, item)).collect::<PyResult<Vec<_>>>()?;
                Ok(PyTuple::new(py, made)?.into_any())
            }
            (Self::Record(shape), Value::Object(said)) => shape.get().fill(py, &mut named(said), None),
            (Self::Record(shape), _) => {
                Err(PyTypeError::new_err(format!("{} must be an object", shape.get().class)))
            }
            (Self::Word { class, known }, value) => {
                if let Some(member) = value.as_str().and_then(|word| known.get(word)) {
                    return Ok(member.bind(py).clone());
                }
                // The class makes a member of its own in Python.
                let _inside = gate::enter(py);
                class.bind(py).call1((plain(py, value)?,))
            }
        }
    }
}

/// Makes an event of the fields of its JSON form but `kind`, and of its body. `shapes` has one for each kind.
pub(crate) fn event<'py>(
    shapes: &Bound<'py, PyDict>,
    kind: &str,
    fields: &mut dyn Iterator<Item = Named>,
    raw: Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyAny>> {
    let shape = shapes.get_item(kind)?.ok_or_else(|| PyKeyError::new_err(kind.to_owned()))?;
    shape.cast::<Shape>()?.get().fill(shapes.py(), fields, Some(raw))
}

/// The fields of an object.
pub(crate) fn named(object: Map<String, Value>) -> impl Iterator<Item = Named> {
    object.into_iter().map(|(name, value)| (name.into(), value))
}

/// JSON as `json.loads` gives it.
fn plain(py: Python<'_>, value: Value) -> PyResult<Bound<'_, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_pyobject(py)?.into_any(),
            (None, Some(number)) => number.into_pyobject(py)?.into_any(),
            (None, None) => number.as_f64().into_pyobject(py)?.into_any(),
        },
        Value::Array(items) => {
            let items = items.into_iter().map(|item| plain(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            for (name, value) in fields {
                dict.set_item(name, plain(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// An object of which nothing is set.
fn empty<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: `class` is a type, alive and ready. Its objects are fixed in size: they have slots and none of
    // their bases is a type of another layout, or the descriptors of its slots would not be members.
    unsafe { Bound::from_owned_ptr_or_err(class.py(), ffi::PyType_GenericAlloc(class.as_type_ptr(), 0)) }
}

/// A slot of a class, which Python code cannot set: the class is frozen.
struct Slot {
    descriptor: Py<PyAny>,
    set: ffi::descrsetfunc,
}

impl Slot {
    fn of(descriptor: &Bound<'_, PyAny>) -> PyResult<Self> {
        // SAFETY: it is asked of a living type, of any kind since Python 3.10.
        let set = unsafe { ffi::PyType_GetSlot(descriptor.get_type_ptr(), ffi::Py_tp_descr_set) };
        if set.is_null() {
            return Err(PyTypeError::new_err("a record must have slots"));
        }
        // SAFETY: what a type has under this number is a function of this type.
        let set = unsafe { std::mem::transmute::<*mut std::ffi::c_void, ffi::descrsetfunc>(set) };
        Ok(Self { descriptor: descriptor.clone().unbind(), set })
    }

    fn set(&self, object: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: the function comes from the descriptor's type, and all three are alive. It checks itself
        // that the object has this slot.
        let failed = unsafe { (self.set)(self.descriptor.as_ptr(), object.as_ptr(), value.as_ptr()) };
        if failed == 0 { Ok(()) } else { Err(PyErr::fetch(object.py())) }
    }
}
