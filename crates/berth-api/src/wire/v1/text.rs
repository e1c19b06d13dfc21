//! Values that travel as text: ids, names, 64-bit numbers, points in time.

use std::fmt;
use std::str::FromStr;

use berth_model as model;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Why a text is not what the wire says it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// An id or a name of the wrong form.
    #[error(transparent)]
    Parse(#[from] model::ParseError),
    /// Something else of the wrong form.
    #[error("`{text}` is not {what}: expected the form {form}")]
    Form {
        /// What was given, shortened.
        text: String,
        /// What it should have been.
        what: &'static str,
        /// An example of the right form.
        form: &'static str,
    },
}

impl TextError {
    fn form(text: &str, what: &'static str, form: &'static str) -> Self {
        TextError::Form { text: text.chars().take(80).collect(), what, form }
    }
}

/// What somebody else's program said, in one line: without anything that a terminal would obey, or that would show it other
/// than it is.
pub fn legible(said: &str) -> String {
    let shows_otherwise =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let words = said.split(|c: char| c.is_whitespace() || c.is_control() || shows_otherwise(c));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident($inner:ty), $about:literal, $example:literal, $show:expr, $read:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let show: fn(&$inner) -> String = $show;
                f.pad(&show(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = TextError;
            fn from_str(text: &str) -> Result<Self, TextError> {
                let read: fn(&str) -> Result<$inner, TextError> = $read;
                read(text).map($name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let object = ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($about))
                    .examples([$example]);
                RefOr::T(Schema::Object(object.build()))
            }
        }

        impl ToSchema for $name {}

        impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                $name(inner)
            }
        }

        impl From<$name> for $inner {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
    ($(#[$doc:meta])* $name:ident, $about:literal, $example:literal) => {
        text!($(#[$doc])* $name(model::$name), $about, $example, |v| v.to_string(), |t| Ok(t.parse()?));
    };
}

text!(
    /// An allocation's id.
    AllocId, "The id of an allocation: `a`, the incarnation of the cluster's store, a counter.", "a1-23"
);
text!(
    /// A node's id.
    NodeId, "The id of a node.", "n1-2"
);
text!(
    /// A command's id.
    CommandId, "The id of an accepted command.", "c1-7"
);
text!(
    /// A decision's id.
    DecisionId, "The id of a recorded run of the decision core.", "d1-40"
);
text!(
    /// A ledger entry's id.
    EventId, "The id of an entry of the ledger; entries are in order of ids.", "e1-512"
);
text!(
    /// A plan's id.
    PlanId, "What a plan does, as a number: `p` and 32 hexadecimal digits.", "p00112233445566778899aabbccddeeff"
);
text!(
    /// A namespace.
    Namespace, "A namespace.", "default"
);
text!(
    /// A job's name.
    JobName, "The name of a job within its namespace.", "web"
);
text!(
    /// A group's name.
    GroupName, "The name of a group within its job.", "front"
);
text!(
    /// A task's name.
    TaskName, "The name of a task within its group.", "nginx"
);
text!(
    /// A check's name.
    CheckName, "The name of a check within its task.", "readiness"
);
text!(
    /// A port's name.
    PortName, "The name of a port within its group.", "http"
);
text!(
    /// A node's name.
    NodeName, "The name that an operator gave to a node.", "rack1-a"
);
text!(
    /// A job: namespace and name.
    JobId(model::JobId),
    "A job: its namespace, a slash, its name.",
    "default/web",
    |job| job.to_string(),
    |text| {
        let (namespace, name) =
            text.split_once('/').ok_or_else(|| TextError::form(text, "a job", "NAMESPACE/NAME"))?;
        Ok(model::JobId { namespace: namespace.parse()?, name: name.parse()? })
    }
);
text!(
    /// A leader's reign.
    Epoch(model::Epoch),
    "The reign of a leader: the incarnation of the store, a counter.",
    "1-5",
    |epoch| epoch.to_string(),
    |text| {
        let wrong = || TextError::form(text, "an epoch", "1-5");
        let (incarnation, counter) = text.split_once('-').ok_or_else(wrong)?;
        let incarnation = model::Incarnation(incarnation.parse().map_err(|_| wrong())?);
        Ok(model::Epoch { incarnation, counter: counter.parse().map_err(|_| wrong())? })
    }
);
text!(
    /// A kind of device.
    DeviceKind, "A kind of device.", "gpu"
);
text!(
    /// A device's id.
    DeviceId, "The id of a device within its node.", "GPU-8932f937"
);
text!(
    /// The name of a wish for devices.
    DeviceName, "The name of a wish for devices within its group.", "gpu"
);
text!(
    /// A certificate authority's id.
    AuthorityId, "A certificate authority: the SHA-256 of its certificate.",
    "1f0e2d3c4b5a69788796a5b4c3d2e1f01f0e2d3c4b5a69788796a5b4c3d2e1f0"
);
text!(
    /// A join token's id.
    TokenId, "A join token: the SHA-256 of its secret.",
    "1f0e2d3c4b5a69788796a5b4c3d2e1f01f0e2d3c4b5a69788796a5b4c3d2e1f0"
);
text!(
    /// A policy's name.
    PolicyName, "The name of a placement policy.", "balanced"
);
text!(
    /// A 64-bit number.
    Number(u64),
    "A number of up to 64 bits, in decimal digits.",
    "1073741824",
    |number| number.to_string(),
    |text| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.ok_or_else(|| TextError::form(text, "a number", "1073741824"))
    }
);
text!(
    /// A signed 64-bit number.
    Signed(i64),
    "A signed number of up to 64 bits, in decimal digits.",
    "-120",
    |number| number.to_string(),
    |text| text.parse().map_err(|_| TextError::form(text, "a signed number", "-120"))
);
text!(
    /// A digest of a desired state: 32 hexadecimal digits.
    Digest(u128),
    "A digest of a desired state: 32 hexadecimal digits.",
    "00000000000000000000000000000000",
    |digest| format!("{digest:032x}"),
    |text| {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let digest = if hex { u128::from_str_radix(text, 16).ok() } else { None };
        digest.ok_or_else(|| TextError::form(text, "a digest", "32 hexadecimal digits"))
    }
);
text!(
    /// A point in time. What lies beyond the year 9999 travels as its last second.
    Time(model::Timestamp),
    "A point in time: RFC 3339 in UTC, with milliseconds.",
    "2026-11-21T05:35:23.120Z",
    |time| {
        let last = jiff::Timestamp::MAX.as_second() * 1000;
        let millis = i64::try_from(time.0).unwrap_or(last).min(last);
        let time = jiff::Timestamp::from_millisecond(millis).expect("0 to the last second is in range");
        format!("{time:.3}")
    },
    |text| {
        let wrong = || TextError::form(text, "a time", "2026-11-21T05:35:23.120Z");
        let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        let millis = u64::try_from(time.as_millisecond()).map_err(|_| wrong())?;
        Ok(model::Timestamp(millis))
    }
);

impl Default for Number {
    /// Zero.
    fn default() -> Number {
        Number(0)
    }
}

impl From<model::Digest> for Digest {
    fn from(digest: model::Digest) -> Digest {
        Digest(digest.0)
    }
}

impl From<Digest> for model::Digest {
    fn from(digest: Digest) -> model::Digest {
        model::Digest(digest.0)
    }
}

impl From<model::Bytes> for Number {
    fn from(bytes: model::Bytes) -> Number {
        Number(bytes.0)
    }
}

impl From<model::Millis> for Number {
    fn from(millis: model::Millis) -> Number {
        Number(millis.0)
    }
}

impl From<Number> for model::Bytes {
    fn from(number: Number) -> model::Bytes {
        model::Bytes(number.0)
    }
}

impl From<Number> for model::Millis {
    fn from(number: Number) -> model::Millis {
        model::Millis(number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn round<T: FromStr<Err = TextError> + fmt::Display>(text: &str) {
        match text.parse::<T>() {
            Ok(value) => assert_eq!(value.to_string(), text),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn text_stays_as_it_is() {
        round::<AllocId>("a1-23");
        round::<JobId>("default/web");
        round::<Epoch>("2-19");
        round::<Number>("18446744073709551615");
        round::<Signed>("-9223372036854775808");
        round::<Digest>("0123456789abcdef0123456789abcdef");
        round::<Time>("2026-11-21T05:35:23.120Z");
        round::<Time>("1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_end_of_time_is_the_end_of_the_calendar() {
        assert_eq!(Time(model::Timestamp(u64::MAX)).to_string(), "9999-12-30T22:00:00.000Z");
    }

    #[test]
    fn wrong_text_is_named_with_the_right_form() {
        let error = "tomorrow".parse::<Time>().unwrap_err();
        assert_eq!(error.to_string(), "`tomorrow` is not a time: expected the form 2026-11-21T05:35:23.120Z");
        let error = "web".parse::<JobId>().unwrap_err();
        assert_eq!(error.to_string(), "`web` is not a job: expected the form NAMESPACE/NAME");
        assert!("+1".parse::<Number>().is_err());
        assert!("".parse::<Number>().is_err());
        assert!("1960-01-01T00:00:00Z".parse::<Time>().is_err());
    }
}
