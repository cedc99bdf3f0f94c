//! The table of configuration keys and the check of a value's type.
//!
//! Deserialisation alone would refuse a wrong file too, but without saying where. Every key is therefore
//! looked up here first, so that an error names it, what was found and what was expected.

use toml::Value;

use super::choices::{
    Activation, Architecture, Dtype, LikelihoodKind, PriorKind, ReportedPart, SamplerKind, Schedule, Source,
};
use crate::entropy::Method;

/// What a key's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number from 0.
    Whole,
    /// A finite number.
    Number,
    /// `true` or `false`.
    Flag,
    /// Any text.
    Text,
    /// One word out of a list.
    Choice(&'static [&'static str]),
    /// A list of texts.
    TextList,
    /// A list of whole numbers from 0.
    WholeList,
    /// A list of finite numbers.
    NumberList,
    /// A list of pairs of whole numbers from 0.
    PairList,
    /// A list of heads of a sampler.
    HeadList,
}

/// Every key there is, dotted, in the order of a written file.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("format_version", Kind::Whole),
    ("seed", Kind::Whole),
    ("dtype", Kind::Choice(Dtype::NAMES)),
    ("data.source", Kind::Choice(Source::NAMES)),
    ("data.path", Kind::Text),
    ("data.set", Kind::Text),
    ("data.split", Kind::Whole),
    ("data.target", Kind::TextList),
    ("data.ignore", Kind::TextList),
    ("data.validation_fraction", Kind::Number),
    ("data.test_fraction", Kind::Number),
    ("data.split_seed", Kind::Whole),
    ("data.report_on", Kind::Choice(ReportedPart::NAMES)),
    ("data.augmentation.padding", Kind::Whole),
    ("data.augmentation.flip", Kind::Flag),
    ("network.architecture", Kind::Choice(Architecture::NAMES)),
    ("network.input", Kind::WholeList),
    ("network.outputs", Kind::Whole),
    ("network.hidden", Kind::WholeList),
    ("network.activation", Kind::Choice(Activation::NAMES)),
    ("network.depth", Kind::Whole),
    ("network.width", Kind::Whole),
    ("network.layers", Kind::TextList),
    ("network.stochastic", Kind::TextList),
    ("network.start", Kind::Text),
    ("sampler.kind", Kind::Choice(SamplerKind::NAMES)),
    ("sampler.latent", Kind::WholeList),
    ("sampler.hidden", Kind::WholeList),
    ("sampler.hidden_layers", Kind::Whole),
    ("sampler.output", Kind::WholeList),
    ("sampler.trunk", Kind::PairList),
    ("sampler.activation", Kind::Choice(Activation::NAMES)),
    ("sampler.sigma", Kind::Number),
    ("sampler.init_scale", Kind::Number),
    ("sampler.learned_scales", Kind::Flag),
    ("sampler.heads", Kind::HeadList),
    ("likelihood.kind", Kind::Choice(LikelihoodKind::NAMES)),
    ("likelihood.initial_noise_std", Kind::Number),
    ("likelihood.learn_noise", Kind::Flag),
    ("likelihood.noise_from_validation", Kind::Flag),
    ("prior.kind", Kind::Choice(PriorKind::NAMES)),
    ("prior.std", Kind::Number),
    ("entropy.method", Kind::Choice(Method::NAMES)),
    ("entropy.latents", Kind::Whole),
    ("entropy.probes", Kind::Whole),
    ("entropy.steps", Kind::Whole),
    ("entropy.iterations", Kind::Whole),
    ("entropy.tolerance", Kind::Number),
    ("training.steps", Kind::Whole),
    ("training.epochs", Kind::Whole),
    ("training.batch_size", Kind::Whole),
    ("training.samples", Kind::Whole),
    ("training.chunk", Kind::Whole),
    ("training.components", Kind::Whole),
    ("training.learning_rate", Kind::Number),
    ("training.noise_learning_rate", Kind::Number),
    ("training.amsgrad", Kind::Flag),
    ("training.schedule", Kind::Choice(Schedule::NAMES)),
    ("training.warmup", Kind::Number),
    ("training.clip_norm", Kind::Number),
    ("training.temperature", Kind::Number),
    ("training.entropy_weight", Kind::Number),
    ("training.prior_weight", Kind::Number),
    ("training.checkpoint_every", Kind::Whole),
    ("training.log_every", Kind::Whole),
    ("training.early_stopping.patience_evaluations", Kind::Whole),
    ("training.early_stopping.evaluate_every", Kind::Whole),
    ("prediction.samples", Kind::Whole),
    ("prediction.reference_rows", Kind::Whole),
    ("prediction.quantiles", Kind::NumberList),
];

impl Kind {
    /// What is expected, in words.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Whole => "a whole number from 0".into(),
            Self::Number => "a finite number".into(),
            Self::Flag => "true or false".into(),
            Self::Text => "a text".into(),
            Self::Choice(names) => format!("one of {}", join(names.iter().copied())),
            Self::TextList => "a list of texts such as [\"a\", \"b\"]".into(),
            Self::WholeList => "a list of whole numbers such as [50, 50]".into(),
            Self::NumberList => "a list of finite numbers such as [0.025, 0.975]".into(),
            Self::PairList => "a list of pairs of whole numbers such as [[25, 50], [50, 40]]".into(),
            Self::HeadList => {
                "a list of heads such as [{ input = [25, 10], hidden = [50, 40], output = [150, 150], hidden_layers = 1 }]"
                    .into()
            }
        }
    }

    /// Checks `value`; the error says what was found and what was expected.
    pub(super) fn check(self, value: &Value) -> Result<(), String> {
        if self.accepts(value) {
            return Ok(());
        }
        Err(format!("found {}, expected {}", describe(value), self.expected()))
    }

    fn accepts(self, value: &Value) -> bool {
        let every = |kind: Kind| value.as_array().is_some_and(|list| list.iter().all(|item| kind.accepts(item)));
        match self {
            Self::Whole => value.as_integer().is_some_and(|number| number >= 0),
            Self::Number => value.is_integer() || value.as_float().is_some_and(f64::is_finite),
            Self::Flag => value.is_bool(),
            Self::Text => value.is_str(),
            Self::Choice(names) => value.as_str().is_some_and(|text| names.contains(&text)),
            Self::TextList => every(Self::Text),
            Self::WholeList => every(Self::Whole),
            Self::NumberList => every(Self::Number),
            Self::PairList => value.as_array().is_some_and(|list| list.iter().all(is_pair)),
            Self::HeadList => value.as_array().is_some_and(|list| list.iter().all(is_head)),
        }
    }

    /// Reads a value given on the command line, where texts need no quotes. Its type is not checked.
    pub(super) fn read(self, raw: &str) -> Result<Value, String> {
        let raw = raw.trim();
        let quoted = raw.starts_with(['"', '\'']);
        let value = match self {
            Self::Text | Self::Choice(_) if !quoted => return Ok(Value::String(raw.into())),
            Self::TextList if !quoted && !raw.starts_with('[') => {
                return Ok(Value::Array(vec![Value::String(raw.into())]));
            }
            _ => raw.parse::<Value>(),
        };
        match (self, value) {
            (Self::TextList, Ok(Value::String(text))) => Ok(Value::Array(vec![Value::String(text)])),
            // `[area, rooms]`: shells eat quotes, so bare words are taken as texts.
            (Self::TextList, Err(_)) if raw.ends_with(']') && !raw.contains(['"', '\'']) => {
                let words = raw[1..raw.len() - 1].split(',');
                Ok(Value::Array(words.map(|word| Value::String(word.trim().into())).collect()))
            }
            (_, Ok(value)) => Ok(value),
            (_, Err(_)) => Err(format!("found `{raw}`, expected {}", self.expected())),
        }
    }
}

/// Whether a value is two whole numbers.
fn is_pair(value: &Value) -> bool {
    Kind::WholeList.accepts(value) && value.as_array().is_some_and(|pair| pair.len() == 2)
}

/// Whether a value has exactly the fields of a [`HeadConfig`](super::HeadConfig).
fn is_head(value: &Value) -> bool {
    value.as_table().is_some_and(|head| {
        let sizes = ["input", "hidden", "output"].iter().all(|name| head.get(*name).is_some_and(is_pair));
        sizes && head.len() == 4 && head.get("hidden_layers").is_some_and(|count| Kind::Whole.accepts(count))
    })
}

/// Kind of a key, if there is such a key.
pub(super) fn kind_of(key: &str) -> Option<Kind> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, kind)| *kind)
}

/// Whether `path` is a section: some key starts with it and a dot.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|(name, _)| in_section(name, path))
}

/// What is wrong with a key that does not exist: close keys, and all keys of its section.
pub(super) fn unknown_key(key: &str) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_string();
    let mut close: Vec<(usize, &str)> = KEYS
        .iter()
        .map(|(name, _)| {
            let whole = strsim::damerau_levenshtein(key, name);
            // The right name in the wrong section, or without one, counts as close as a single slip.
            let part = 1 + strsim::damerau_levenshtein(&last(key), &last(name));
            (whole.min(part), *name)
        })
        .filter(|(distance, name)| *distance <= 1 + last(name).len() / 4)
        .collect();
    close.sort_unstable();
    let mut text = String::from("there is no such key");
    if !close.is_empty() {
        let names = join(close.iter().take(3).map(|(_, name)| *name));
        text.push_str(&format!("; did you mean {names}"));
    }
    let section = key.rsplit_once('.').map_or("", |(section, _)| section);
    if is_section(section) {
        let keys = KEYS.iter().filter_map(|(name, _)| name.strip_prefix(section)?.strip_prefix('.'));
        text.push_str(&format!("; the keys of [{section}] are {}", join(keys)));
    } else {
        let mut tops: Vec<&str> = KEYS.iter().map(|(name, _)| name.split('.').next().unwrap_or(name)).collect();
        tops.dedup();
        text.push_str(&format!("; the top-level keys and sections are {}", join(tops.into_iter())));
    }
    text
}

/// A value in words, with its type.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text \"{text}\""),
        Value::Integer(number) => format!("the whole number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(flag) => format!("{flag}"),
        Value::Datetime(date) => format!("the date {date}"),
        Value::Array(_) => format!("the list {value}"),
        Value::Table(_) => "a table".into(),
    }
}

fn in_section(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

/// Names in backquotes, separated by commas.
pub(super) fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_key_is_answered_with_the_right_one_first() {
        let problem = unknown_key("training.setps");
        assert!(problem.contains("did you mean `training.steps`"), "{problem}");
        assert!(problem.contains("the keys of [training] are `steps`, `epochs`"), "{problem}");
    }

    #[test]
    fn a_key_without_its_section_is_answered_with_the_whole_key() {
        let problem = unknown_key("learning_rate");
        assert!(problem.contains("did you mean `training.learning_rate`"), "{problem}");
    }

    #[test]
    fn a_key_unlike_any_lists_the_sections() {
        let problem = unknown_key("zzzzzzzzzzzz");
        assert!(!problem.contains("did you mean") && problem.contains("`sampler`"), "{problem}");
    }

    #[test]
    fn bare_words_on_the_command_line_are_texts_where_texts_are_expected() {
        let text = |text: &str| Value::String(text.into());
        assert_eq!(Kind::Text.read("5").unwrap(), text("5"));
        assert_eq!(Kind::Text.read("'a b'").unwrap(), text("a b"));
        assert_eq!(Kind::TextList.read("price").unwrap(), Value::Array(vec![text("price")]));
        assert_eq!(Kind::TextList.read("[a, b]").unwrap(), Value::Array(vec![text("a"), text("b")]));
        assert_eq!(Kind::TextList.read("[\"a\"]").unwrap(), Value::Array(vec![text("a")]));
    }

    #[test]
    fn a_value_cannot_smuggle_in_a_second_line() {
        assert!(Kind::Whole.read("5\nseed = 3").is_err());
    }

    #[test]
    fn pairs_of_any_other_length_are_refused() {
        let value = Kind::PairList.read("[[1, 2], [3]]").unwrap();
        assert!(Kind::PairList.check(&value).unwrap_err().contains("pairs of whole numbers"));
    }

    #[test]
    fn a_head_without_one_of_its_fields_or_with_another_is_refused() {
        let complete = "input = [25, 10], hidden = [50, 40], output = [150, 150], hidden_layers = 1";
        let check = |head: &str| Kind::HeadList.check(&Kind::HeadList.read(&format!("[{{ {head} }}]")).unwrap());
        assert_eq!(check(complete), Ok(()));
        for wrong in [&complete[17..], &format!("{complete}, depth = 2"), &complete.replace("150, 150", "150")] {
            assert!(check(wrong).unwrap_err().contains("a list of heads"), "{wrong}");
        }
    }
}
