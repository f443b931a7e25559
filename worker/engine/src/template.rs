//! Chat templates: the model's own Jinja, rendered as transformers renders it.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;

/// Why a chat can't be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template is not valid Jinja.
    #[error("the chat template does not parse: {0}")]
    Syntax(String),
    /// The template refused the messages or failed on them.
    #[error("the chat template failed: {0}")]
    Render(String),
    /// The model has no chat template.
    #[error("the model has no chat template; use a raw or template condition")]
    Absent,
    /// The model has several, and none that is meant where nothing is said.
    #[error("the model has chat templates ({0}), but none called `default`")]
    Undecided(String),
}

/// One chat message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// Its text.
    pub content: String,
}

/// A model's chat template and the special tokens it may mention.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special: SpecialTokens,
}

/// Special tokens by the names under which templates know them, such as `bos_token`.
pub type SpecialTokens = BTreeMap<&'static str, String>;

/// The names of special tokens that transformers hands to templates.
pub const SPECIAL: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

const NAME: &str = "chat";
/// Instructions that a rendering may take; a conversation takes some thousands. One that never ends would hold its worker for ever.
const FUEL: u64 = 10_000_000;
/// Bytes of a template.
const LONGEST: usize = 1 << 20;
/// Spaces that JSON is indented by.
const INDENT: usize = 16;
/// The day that `strftime_now` tells: a prompt must not depend on when a unit runs. It is LLaMA 3's own default.
const DAY: (u32, u32, u32) = (2024, 7, 26);

impl ChatTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// It isn't valid Jinja.
    pub fn new(source: &str, special: SpecialTokens) -> Result<ChatTemplate, TemplateError> {
        if source.len() > LONGEST {
            return Err(TemplateError::Syntax(format!("it has {} bytes; {LONGEST} are the most", source.len())));
        }
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| TemplateError::Syntax(detail(&e)))?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: String| strftime(&format, DAY));
        environment.add_filter("tojson", tojson);
        // As in Python: a string and a map are both, none is neither.
        environment.add_test("iterable", |value: &Value| {
            value.is_undefined() || value.kind() == ValueKind::String || value.try_iter().is_ok() && !value.is_none()
        });
        environment.add_test("sequence", |value: &Value| {
            matches!(value.kind(), ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map)
        });
        // Jinja reads line ends of every kind as one.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        environment.add_template_owned(NAME, without_marks(&source)).map_err(|e| TemplateError::Syntax(detail(&e)))?;
        Ok(ChatTemplate { environment, special })
    }

    /// Renders messages, ending where the assistant's reply begins. `variables` reach the template by their names.
    pub fn render(&self, messages: &[Message], variables: &BTreeMap<String, serde_json::Value>) -> Result<String, TemplateError> {
        // Some templates ask whether these are none, which what isn't defined is not.
        let mut context = BTreeMap::from(["tools", "documents"].map(|name| (name, Value::from(()))));
        context.extend(self.special.iter().map(|(name, token)| (*name, Value::from(token.as_str()))));
        context.insert("messages", Value::from(Serde(messages)));
        context.insert("add_generation_prompt", Value::from(true));
        for (name, value) in variables {
            context.insert(name, Value::from(Serde(value)));
        }
        let failed = |e: Error| TemplateError::Render(detail(&e));
        self.environment.get_template(NAME).map_err(failed)?.render(context).map_err(failed)
    }
}

/// A template in which assistants' text isn't marked for training (`{% generation %}`), with the white space that the marks leave.
fn without_marks(source: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(source.len()), source);
    while let Some((before, behind)) = rest.split_once("{%") {
        let Some((inside, after)) = behind.split_once("%}") else { break };
        let sign = |at: Option<char>| at.filter(|c| "+-".contains(*c)).map(String::from).unwrap_or_default();
        let word = match inside.trim_matches(['+', '-']).trim() {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => {
                out.push_str(before);
                out.push_str("{%");
                rest = behind;
                continue;
            }
        };
        out += &format!("{before}{{%{} {word} {}%}}", sign(inside.chars().next()), sign(inside.chars().last()));
        rest = after;
    }
    out + rest
}

/// An error's message without minijinja's kind in front.
fn detail(error: &Error) -> String {
    let text = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{text} (line {line})"),
        None => text,
    }
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// JSON as Python's `json.dumps(..., ensure_ascii=False)` writes it; `indent` as there.
fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    if options.get::<Option<bool>>("ensure_ascii")? == Some(true) {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson(ensure_ascii=true) is not supported"));
    }
    options.assert_all_used()?;
    if let Some(n) = indent.filter(|n| *n > INDENT) {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson(indent={n}) is not supported; {INDENT} is the most")));
    }
    let failed = |e: serde_json::Error| Error::new(ErrorKind::BadSerialization, e.to_string());
    let mut out = Vec::new();
    match indent {
        Some(n) => {
            let spaces = " ".repeat(n);
            let format = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, format)).map_err(failed)?;
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Python)).map_err(failed)?,
    }
    Ok(Value::from_safe_string(String::from_utf8_lossy(&out).into_owned()))
}

/// One-line JSON with a space after commas and colons.
struct Python;

impl serde_json::ser::Formatter for Python {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The day at midnight in Python's format. A directive that isn't known is refused: templates write dates, and a wrong one is seen by
/// nobody.
fn strftime(format: &str, (year, month, day): (u32, u32, u32)) -> Result<String, Error> {
    const MONTHS: [&str; 12] =
        ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
    /// Days of the year before that one's month, in a leap year.
    const BEFORE: u32 = 182;
    let name = MONTHS[month as usize - 1];
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let bare = directive == Some('-');
        if bare {
            directive = chars.next();
        }
        let number = |n: u32, width: usize| if bare { n.to_string() } else { format!("{n:0width$}") };
        out += &match directive {
            Some('d') => number(day, 2),
            Some('m') => number(month, 2),
            Some('y') => number(year % 100, 2),
            Some('j') => number(BEFORE + day, 3),
            Some('H' | 'M' | 'S') => number(0, 2),
            Some('I') => number(12, 2),
            Some('Y') if !bare => year.to_string(),
            Some('B') if !bare => name.to_owned(),
            Some('b') if !bare => name[..3].to_owned(),
            Some('A') if !bare => "Friday".to_owned(),
            Some('a') if !bare => "Fri".to_owned(),
            Some('p') if !bare => "AM".to_owned(),
            Some('%') if !bare => "%".to_owned(),
            other => {
                let found: String = ['%'].into_iter().chain(bare.then_some('-')).chain(other).collect();
                return Err(Error::new(ErrorKind::InvalidOperation, format!("strftime_now: `{found}` is not supported")));
            }
        };
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_beyond_all_measure_are_refused() {
        let of = |bytes: usize| ChatTemplate::new(&" ".repeat(bytes), SpecialTokens::new());
        assert!(of(LONGEST).is_ok());
        assert!(matches!(of(LONGEST + 1), Err(TemplateError::Syntax(message)) if message == "it has 1048577 bytes; 1048576 are the most"));
    }

    fn user(content: &str) -> Vec<Message> {
        vec![Message { role: "user", content: content.to_owned() }]
    }

    #[test]
    fn python_idioms_and_variables_work() {
        let source = "{{ bos_token }}{% for m in messages %}\n  {% if m.role.startswith('u') %}\n[{{ m['content'].strip() | tojson }}]\n  {% endif %}\n{% endfor %}{% if enable_thinking is defined and not enable_thinking %}<no think>{% endif %}{{ strftime_now('%d %b %Y') }}";
        let template = ChatTemplate::new(source, BTreeMap::from([("bos_token", "<s>".to_owned())])).unwrap();
        let variables = BTreeMap::from([("enable_thinking".to_owned(), serde_json::Value::Bool(false))]);
        assert_eq!(template.render(&user(" a<b \"é\" "), &variables).unwrap(), "<s>[\"a<b \\\"é\\\"\"]\n<no think>26 Jul 2024");
    }

    #[test]
    fn what_transformers_always_hands_over_is_there() {
        let source = "{{ bos_token }}{% if tools is not none %}tools{% endif %}{% if documents %}documents{% endif %}{{ unk_token }}";
        let special = BTreeMap::from([("bos_token", "<s>".to_owned()), ("unk_token", "<unk>".to_owned())]);
        let rendered = ChatTemplate::new(source, special).unwrap().render(&user("x"), &BTreeMap::new()).unwrap();
        assert_eq!(rendered, "<s><unk>");
    }

    #[test]
    fn marks_for_training_leave_no_trace() {
        // As transformers renders them, whichever way they are written.
        let lines = "{% for m in messages %}\n<{{ m.role }}>\n{% generation %}\n{{ m.content }}\n{% endgeneration %}\n{% endfor %}";
        let tight = "{%- for m in messages %}<{{ m.role }}>{%- generation %}{{ m.content }}{%-endgeneration-%}{% endfor %}";
        for (source, expected) in [(lines, "<user>\nhello\n"), (tight, "<user>hello")] {
            let template = ChatTemplate::new(source, SpecialTokens::new()).unwrap();
            assert_eq!(template.render(&user("hello"), &BTreeMap::new()).unwrap(), expected);
        }
    }

    #[test]
    fn tests_lines_and_dates_are_pythons() {
        let say = |source: &str| ChatTemplate::new(source, SpecialTokens::new()).unwrap().render(&user("x"), &BTreeMap::new());
        let kinds =
            "{% for v in [none, 'a', {}, [], 1] %}{{ (v is iterable) ~ (v is sequence) ~ ' ' }}{% endfor %}{{ nothing is iterable }}";
        assert_eq!(say(kinds).unwrap(), "FalseFalse TrueTrue TrueTrue TrueTrue FalseFalse True");
        assert_eq!(say("{% if tools is iterable and tools | length > 0 %}tools{% endif %}none").unwrap(), "none");
        assert_eq!(say("a\r\nb\rc").unwrap(), "a\nb\nc");
        assert_eq!(say("{{ {'b': 1, 'a': 2} | tojson }}").unwrap(), r#"{"b": 1, "a": 2}"#);
        assert_eq!(
            say("{{ strftime_now('%-d %B %Y, %a %I:%M %p, %j, %d/%-m/%y, 100 %%') }}").unwrap(),
            "26 July 2024, Fri 12:00 AM, 208, 26/7/24, 100 %"
        );
        assert!(
            say("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}").unwrap_err().to_string().contains("fuel")
        );
        for refused in [
            "{{ 1 | tojson(indent=1000) }}",
            "{{ strftime_now('%U') }}",
            "{{ strftime_now('%-B') }}",
            "{{ 'é' | tojson(ensure_ascii=true) }}",
        ] {
            assert!(say(refused).unwrap_err().to_string().contains("is not supported"), "{refused}");
        }
    }

    #[test]
    fn a_template_can_refuse() {
        let template = ChatTemplate::new("{{ raise_exception('no system role') }}", SpecialTokens::new()).unwrap();
        assert!(template.render(&user("x"), &BTreeMap::new()).unwrap_err().to_string().contains("no system role"));
    }

    #[test]
    fn json_is_pythons() {
        let template = ChatTemplate::new("{{ tools | tojson }}", SpecialTokens::new()).unwrap();
        let tools = serde_json::json!([{"a": 1}, "b"]);
        let variables = BTreeMap::from([("tools".to_owned(), tools)]);
        assert_eq!(template.render(&[], &variables).unwrap(), r#"[{"a": 1}, "b"]"#);
    }
}
