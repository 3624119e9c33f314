//! A template as it is kept: steps in a row, and what each of them writes.
//!
//! Nothing is built before it is written: a filter passes on what it is given piece by piece, and the output has a limit
//! from the start. Steps only ever lead forward, so a run ends after at most as many as there are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

use super::Values;

/// A name that templates know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Token,
    TokenType,
    ExpiresAt,
    IssuedAt,
    ExpiresIn,
    Namespace,
    Name,
}

impl Variable {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "token" => Self::Token,
            "token_type" => Self::TokenType,
            "expires_at" => Self::ExpiresAt,
            "issued_at" => Self::IssuedAt,
            "expires_in" => Self::ExpiresIn,
            "namespace" => Self::Namespace,
            "name" => Self::Name,
            _ => return None,
        })
    }

    fn value<'a>(self, values: &Values<'a>) -> Value<'a> {
        let text = |text: Option<&'a str>| text.map_or(Value::None, Value::Text);
        match self {
            Self::Token => Value::Text(values.token),
            Self::TokenType => Value::Text("Bearer"),
            Self::ExpiresAt => text(values.expires_at),
            Self::IssuedAt => text(values.issued_at),
            Self::ExpiresIn => values.expires_in.map_or(Value::None, Value::Number),
            Self::Namespace => text(values.credential.map(|credential| credential.namespace)),
            Self::Name => text(values.credential.map(|credential| credential.name)),
        }
    }
}

/// The value of a variable.
enum Value<'a> {
    Text(&'a str),
    Number(i64),
    None,
}

impl Value<'_> {
    fn is_something(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0,
            Self::None => false,
        }
    }
}

/// What a text goes through on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Json,
    Base64,
}

impl Filter {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "tojson" => Some(Self::Json),
            "b64encode" => Some(Self::Base64),
            _ => None,
        }
    }
}

/// One step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Writes a piece of the texts.
    Text { start: u16, end: u16 },
    /// Writes a variable.
    Variable(Variable),
    /// Writes a variable as JSON: also a number, and `null`.
    Json(Variable),
    /// What is written from here on goes through the filter,
    Begin(Filter),
    /// up to here.
    End,
    /// Jumps to this step if the variable is empty, zero or none.
    Unless(Variable, u16),
    /// Jumps to this step.
    Jump(u16),
}

/// The steps of one value. They take less memory than their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) steps: Box<[Step]>,
    pub(super) texts: Box<str>,
}

impl Program {
    /// Writes one variable.
    pub(super) fn of(variable: Variable) -> Self {
        Self { steps: [Step::Variable(variable)].into(), texts: "".into() }
    }

    /// Writes the value. Returns whether it contains a variable.
    pub(super) fn run(&self, values: &Values<'_>, output: &mut Output) -> Result<bool, Full> {
        let mut writer = Writer { layers: Vec::new(), output };
        let mut is_variable = false;
        let mut next = 0;
        while let Some(step) = self.steps.get(next) {
            next += 1;
            is_variable |= matches!(step, Step::Variable(_) | Step::Json(_));
            match *step {
                Step::Text { start, end } => {
                    let text = self.texts.get(usize::from(start)..usize::from(end));
                    writer.write(text.unwrap_or_default().as_bytes())?;
                }
                Step::Variable(variable) => writer.variable(&variable.value(values))?,
                Step::Json(variable) => writer.json(&variable.value(values))?,
                Step::Begin(filter) => writer.begin(filter)?,
                Step::End => writer.end()?,
                Step::Unless(variable, _) if variable.value(values).is_something() => {}
                Step::Unless(_, step) | Step::Jump(step) => next = step.into(),
            }
        }
        Ok(is_variable)
    }
}

/// More was to be written than there is room for.
#[derive(Debug)]
pub(super) struct Full;

/// A buffer that never grows, so that no copy of a token is left behind by a reallocation; wiped when dropped.
pub(super) struct Output {
    bytes: Zeroizing<Vec<u8>>,
    limit: usize,
}

impl Output {
    pub(super) fn with_room(room: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(room)), limit: room }
    }

    /// Starts again, with at most this much space.
    pub(super) fn clear(&mut self, limit: usize) {
        self.bytes.clear();
        self.limit = limit.min(self.bytes.capacity());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(Full);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// Writes through the filters that have begun.
struct Writer<'a> {
    layers: Vec<Layer>,
    output: &'a mut Output,
}

impl Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Full> {
        write(&mut self.layers, self.output, bytes)
    }

    fn variable(&mut self, value: &Value<'_>) -> Result<(), Full> {
        match value {
            Value::Text(text) => self.write(text.as_bytes()),
            Value::Number(number) => self.write(number.to_string().as_bytes()),
            Value::None => self.write(b"none"),
        }
    }

    fn json(&mut self, value: &Value<'_>) -> Result<(), Full> {
        match value {
            Value::Text(text) => {
                self.begin(Filter::Json)?;
                self.write(text.as_bytes())?;
                self.end()
            }
            Value::Number(_) => self.variable(value),
            Value::None => self.write(b"null"),
        }
    }

    fn begin(&mut self, filter: Filter) -> Result<(), Full> {
        let layer = match filter {
            Filter::Json => {
                self.write(b"\"")?;
                Layer::Json
            }
            Filter::Base64 => Layer::Base64(Held::default()),
        };
        self.layers.push(layer);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Full> {
        match self.layers.pop() {
            Some(Layer::Json) => self.write(b"\""),
            Some(Layer::Base64(held)) => encode(held.bytes(), &mut self.layers, self.output),
            None => Ok(()),
        }
    }
}

/// A filter at work.
enum Layer {
    Json,
    Base64(Held),
}

/// The rest of what was written in threes: base64 makes four characters of three bytes.
#[derive(Default)]
struct Held {
    bytes: Zeroizing<[u8; 2]>,
    count: usize,
}

impl Held {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }

    fn keep(&mut self, rest: &[u8]) {
        self.count = rest.len();
        self.bytes[..rest.len()].copy_from_slice(rest);
    }
}

/// The innermost filter comes first, so this goes as deep as filters are nested.
fn write(layers: &mut [Layer], output: &mut Output, bytes: &[u8]) -> Result<(), Full> {
    match layers.split_last_mut() {
        None => output.write(bytes),
        Some((Layer::Json, beyond)) => write_escaped(beyond, output, bytes),
        Some((Layer::Base64(held), beyond)) => write_encoded(held, beyond, output, bytes),
    }
}

/// The inside of a JSON string. Characters beyond ASCII stay as they are. Consecutive escaped characters are passed on
/// together, because several filters multiply them.
fn write_escaped(layers: &mut [Layer], output: &mut Output, bytes: &[u8]) -> Result<(), Full> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let plain = rest.iter().position(|byte| is_escaped(*byte)).unwrap_or(rest.len());
        write(layers, output, &rest[..plain])?;
        rest = &rest[plain..];
        // 32 escapes take 192 bytes at most.
        let count = rest.iter().take_while(|byte| is_escaped(**byte)).take(32).count();
        let mut escapes = [0; 192];
        let mut length = 0;
        for byte in &rest[..count] {
            length += escape(*byte, &mut escapes[length..]);
        }
        rest = &rest[count..];
        let written = write(layers, output, &escapes[..length]);
        escapes[..length].zeroize();
        written?;
    }
    Ok(())
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

/// Puts the escape of a character there, which takes six bytes at most. Returns how many it took.
fn escape(byte: u8, place: &mut [u8]) -> usize {
    let letter = match byte {
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        0..=0x1f => {
            let digit = |four: u8| b"0123456789abcdef"[usize::from(four)];
            place[..6].copy_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xf)]);
            return 6;
        }
        other => other,
    };
    place[..2].copy_from_slice(&[b'\\', letter]);
    2
}

fn write_encoded(
    held: &mut Held,
    layers: &mut [Layer],
    output: &mut Output,
    mut bytes: &[u8],
) -> Result<(), Full> {
    if held.count > 0 {
        let missing = 3 - held.count;
        let Some((first, rest)) = bytes.split_at_checked(missing) else {
            let both = Zeroizing::new([held.bytes(), bytes].concat());
            held.keep(&both);
            return Ok(());
        };
        let three = Zeroizing::new([held.bytes(), first].concat());
        held.count = 0;
        encode(&three, layers, output)?;
        bytes = rest;
    }
    let (threes, rest) = bytes.split_at(bytes.len() - bytes.len() % 3);
    held.keep(rest);
    encode(threes, layers, output)
}

fn encode(bytes: &[u8], layers: &mut [Layer], output: &mut Output) -> Result<(), Full> {
    let mut encoded = [0; 1024];
    for piece in bytes.chunks(768) {
        // 768 bytes make 1024 characters, so there is always room.
        let length = STANDARD.encode_slice(piece, &mut encoded).unwrap_or_default();
        let written = write(layers, output, &encoded[..length]);
        encoded[..length].zeroize();
        written?;
    }
    Ok(())
}
