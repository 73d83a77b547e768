//! `application/x-www-form-urlencoded` with PHP's brackets, as a tree: `message[add][0][text]=hi`.
//!
//! Written here because what is wanted is a tree of any shape under limits: nobody signs these
//! bodies, so anybody may send them.

use crate::error::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

/// The longest form that is read, in bytes.
pub const FORM_MAX: usize = 1 << 20;
/// How many fields a form may have.
pub const FIELDS_MAX: usize = 10_000;
/// How deep the brackets of a field may nest.
pub const DEPTH_MAX: usize = 16;

/// Reads a form. Every leaf is text; maps whose keys are 0, 1, 2… are arrays. Where a name is given
/// twice, or as text and as map, the later one counts, as in PHP. Bytes that are not UTF-8 become
/// U+FFFD.
pub(super) fn parse(body: &[u8]) -> Result<Map<String, Value>> {
    let refuse = |said: String| Err(Error::new(ErrorKind::MalformedWebhook, said));
    if body.len() > FORM_MAX {
        return refuse(format!("the form is longer than {FORM_MAX} bytes"));
    }
    let mut root = Map::new();
    for (at, (name, value)) in form_urlencoded::parse(body).enumerate() {
        if at == FIELDS_MAX {
            return refuse(format!("the form has more than {FIELDS_MAX} fields"));
        }
        let keys = keys(&name);
        if keys.len() > DEPTH_MAX {
            return refuse(format!("a field of the form nests deeper than {DEPTH_MAX}"));
        }
        insert(&mut root, &keys, value.into_owned());
    }
    Ok(root.into_iter().map(|(key, value)| (key, arrays(value))).collect())
}

/// `a[b][c]` as `a`, `b`, `c`. A name with unbalanced brackets is one key, as it is.
fn keys(name: &str) -> Vec<&str> {
    let whole = || vec![name];
    let Some((first, mut rest)) = name.split_once('[') else { return whole() };
    if first.is_empty() {
        return whole();
    }
    let mut keys = vec![first];
    loop {
        let Some((key, after)) = rest.split_once(']') else { return whole() };
        if key.contains('[') {
            return whole();
        }
        keys.push(key);
        // One more than allowed is enough to be refused.
        if after.is_empty() || keys.len() > DEPTH_MAX {
            return keys;
        }
        let Some(next) = after.strip_prefix('[') else { return whole() };
        rest = next;
    }
}

fn insert(map: &mut Map<String, Value>, keys: &[&str], text: String) {
    let [key, rest @ ..] = keys else { return };
    // `a[]` appends.
    let key = if key.is_empty() { map.len().to_string() } else { (*key).to_owned() };
    if rest.is_empty() {
        map.insert(key, text.into());
        return;
    }
    let inside = map.entry(key).or_insert(Value::Null);
    if !inside.is_object() {
        *inside = Value::Object(Map::new());
    }
    if let Value::Object(inside) = inside {
        insert(inside, rest, text);
    }
}

fn arrays(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    let is_array = !map.is_empty()
        && map.keys().enumerate().all(|(at, key)| key.parse() == Ok(at) && !key.starts_with('+'));
    if is_array {
        map.into_iter().map(|(_, value)| arrays(value)).collect()
    } else {
        map.into_iter().map(|(key, value)| (key, arrays(value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tree(body: &str) -> Value {
        Value::Object(parse(body.as_bytes()).expect("within the limits"))
    }

    #[test]
    fn brackets_nest_as_in_php() {
        for (body, expected) in [
            ("", json!({})),
            ("&&", json!({})),
            ("a", json!({"a": ""})),
            ("a=1&a=2", json!({"a": "2"})),
            ("a[b]=1&a[c]=2", json!({"a": {"b": "1", "c": "2"}})),
            ("a%5Bb%5D=x+y%26", json!({"a": {"b": "x y&"}})),
            ("a[]=1&a[]=2", json!({"a": ["1", "2"]})),
            ("a[0][x]=1&a[1][x]=2&a[0][y]=3", json!({"a": [{"x": "1", "y": "3"}, {"x": "2"}]})),
            ("a[7]=1", json!({"a": {"7": "1"}})),
            ("a[+0]=1&b[00]=1", json!({"a": {" 0": "1"}, "b": ["1"]})),
            ("a=1&a[b]=2", json!({"a": {"b": "2"}})),
            ("a[b]=2&a=1", json!({"a": "1"})),
            (
                "a[b=1&]=2&[x]=3&a]b[=4&c[d]e=5",
                json!({"a[b": "1", "]": "2", "[x]": "3", "a]b[": "4", "c[d]e": "5"}),
            ),
            ("a=%ff%zz", json!({"a": "\u{fffd}%zz"})),
        ] {
            assert_eq!(tree(body), expected, "{body}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let deep = |depth: usize| format!("a{}=1", "[b]".repeat(depth - 1));
        let wide = |fields: usize| "a&".repeat(fields);
        let long = |length: usize| "a".repeat(length);
        for (good, bad) in [
            (deep(DEPTH_MAX), deep(DEPTH_MAX + 1)),
            (deep(DEPTH_MAX), deep(100_000)),
            (wide(FIELDS_MAX), wide(FIELDS_MAX + 1)),
            (long(FORM_MAX), long(FORM_MAX + 1)),
        ] {
            assert!(parse(good.as_bytes()).is_ok());
            let error = parse(bad.as_bytes()).expect_err("beyond the limit");
            assert_eq!(error.kind(), ErrorKind::MalformedWebhook);
        }
    }
}
