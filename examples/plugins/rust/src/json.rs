// SPDX-License-Identifier: Apache-2.0

//! As much JSON as a provider needs, so that the example builds with nothing but rustc; with crates, take serde_json.
//! Numbers are kept as they are written. Objects are sorted by their keys: equal objects give equal bytes.

use std::collections::BTreeMap;

pub type Object = BTreeMap<String, Value>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Value>),
    Object(Object),
}

/// Deeper than this is refused: the stack ends somewhere.
const DEPTH: usize = 64;

struct Parser<'a> {
    rest: &'a [u8],
}

impl Parser<'_> {
    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.rest = self.rest.strip_prefix(word.as_bytes())?;
        Some(value)
    }

    fn number(&mut self) -> Option<Value> {
        let n = self.rest.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
        let text = std::str::from_utf8(&self.rest[..n]).ok()?;
        text.parse::<f64>().ok()?;
        self.rest = &self.rest[n..];
        Some(Value::Number(text.to_string()))
    }

    fn hex(&mut self) -> Option<u16> {
        let text = std::str::from_utf8(self.rest.get(..4)?).ok()?;
        self.rest = &self.rest[4..];
        u16::from_str_radix(text, 16).ok()
    }

    fn escape(&mut self) -> Option<char> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first.into());
                }
                self.take(b'\\')?;
                self.take(b'u')?;
                let both = [first, self.hex()?];
                return char::decode_utf16(both).next()?.ok();
            }
            _ => return None,
        })
    }

    fn text(&mut self) -> Option<String> {
        let mut text = Vec::new();
        self.take(b'"')?;
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return String::from_utf8(text).ok(),
                b'\\' => text.extend_from_slice(self.escape()?.encode_utf8(&mut [0; 4]).as_bytes()),
                0..=0x1f => return None,
                _ => text.push(byte),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        let mut all = Vec::new();
        self.take(b'[')?;
        self.space();
        if self.take(b']').is_some() {
            return Some(Value::Array(all));
        }
        loop {
            all.push(self.value(depth)?);
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(Value::Array(all));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut all = Object::new();
        self.take(b'{')?;
        self.space();
        if self.take(b'}').is_some() {
            return Some(Value::Object(all));
        }
        loop {
            self.space();
            let key = self.text()?;
            self.space();
            self.take(b':')?;
            if all.insert(key, self.value(depth)?).is_some() {
                return None; /* twice the same key */
            }
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(Value::Object(all));
            }
        }
    }

    /// With the space before and behind it.
    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.space();
        let value = match self.rest.first()? {
            b'{' => self.object(depth)?,
            b'[' => self.array(depth)?,
            b'"' => Value::Text(self.text()?),
            b't' => self.word("true", Value::Bool(true))?,
            b'f' => self.word("false", Value::Bool(false))?,
            b'n' => self.word("null", Value::Null)?,
            _ => self.number()?,
        };
        self.space();
        Some(value)
    }
}

/// An object, or None: what is something else, or is followed by something else, is none.
pub fn parse(text: &[u8]) -> Option<Object> {
    let mut p = Parser { rest: text };
    match p.value(DEPTH)? {
        Value::Object(o) if p.rest.is_empty() => Some(o),
        _ => None,
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

impl Value {
    fn write(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Number(n) => out.push_str(n),
            Value::Text(t) => write_text(t, out),
            Value::Array(all) => {
                out.push('[');
                for (i, value) in all.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    value.write(out);
                }
                out.push(']');
            }
            Value::Object(all) => {
                out.push('{');
                for (i, (key, value)) in all.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

pub fn encode(o: &Object) -> String {
    let mut out = String::new();
    Value::Object(o.clone()).write(&mut out);
    out
}

/// The text of that key, or "".
pub fn text_of<'a>(o: &'a Object, key: &str) -> &'a str {
    match o.get(key) {
        Some(Value::Text(t)) => t,
        _ => "",
    }
}

pub fn text(s: &str) -> Value {
    Value::Text(s.to_string())
}
