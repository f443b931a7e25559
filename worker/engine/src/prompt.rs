//! From an utterance and a condition to token ids, with the places the utterance takes.

use std::ops::Range;

use limbic_proto::spec;
use limbic_proto::spec::{BadRows, TooLong};
use rayon::prelude::*;

use crate::model::Model;
use crate::template::{Message, TemplateError};
use crate::tokenizer::TokenizerError;

/// What one row puts to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The rendered text.
    pub text: String,
    /// Its token ids, special tokens included. Never empty.
    pub ids: Vec<u32>,
    /// The characters of the text that are the utterance.
    pub utterance_chars: Range<usize>,
    /// The tokens that hold them; empty where the utterance is empty or was cut off.
    pub utterance_tokens: Range<usize>,
    /// How many tokens were cut to fit the context: the first ones of the utterance, and where that wasn't enough, of the prompt.
    pub cut: usize,
}

impl Prompt {
    /// These tokens, at least one, of no text, and without an utterance.
    pub fn of_tokens(ids: impl Into<Vec<u32>>) -> Prompt {
        Prompt { text: String::new(), ids: ids.into(), utterance_chars: 0..0, utterance_tokens: 0..0, cut: 0 }
    }

    /// The position of the last token.
    pub fn last(&self) -> usize {
        self.ids.len() - 1
    }
}

/// Why a prompt can't be built.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The chat template is absent or failed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// One text can't be tokenized.
    #[error("row {row} can't be tokenized: {source}")]
    Unreadable {
        /// Index of the utterance.
        row: usize,
        /// Why.
        source: TokenizerError,
    },
    /// Nothing is left to read a state from.
    #[error("row {row} has an empty prompt")]
    Empty {
        /// Index of the utterance.
        row: usize,
    },
    /// A chat template that doesn't show a part of what is asked.
    #[error(
        "the model's chat template leaves out {what}, so the model would never see it: put it into `chat.user`, or use a template condition"
    )]
    Dropped {
        /// Which part of the condition.
        what: &'static str,
    },
    /// A token id that the model does not embed.
    #[error("row {row} has token id {id}, but the model embeds only {vocab} tokens")]
    TokenOutOfRange {
        /// Index of the utterance.
        row: usize,
        /// The id.
        id: u32,
        /// Rows of the embedding matrix.
        vocab: usize,
    },
    /// A prompt and its continuation don't fit the context, and the policy is to stop.
    #[error("{many} of {of} rows don't fit the {room} tokens that the model's context leaves them; the longest, row {row}, has {tokens}")]
    TooLong {
        /// Index of the longest utterance.
        row: usize,
        /// Its tokens.
        tokens: usize,
        /// What fits.
        room: usize,
        /// How many don't fit.
        many: usize,
        /// Of how many.
        of: usize,
    },
}

/// What to do with rows that can't be put to the model as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowPolicy {
    /// Prompts longer than the context.
    pub too_long: TooLong,
    /// Texts that can't be tokenized.
    pub bad_rows: BadRows,
}

impl From<TooLong> for RowPolicy {
    fn from(too_long: TooLong) -> RowPolicy {
        RowPolicy { too_long, ..RowPolicy::default() }
    }
}

/// The prompts of many utterances.
#[derive(Debug, Clone, Default)]
pub struct Prompts {
    /// The prompts, in the order of the utterances they were built from.
    pub prompts: Vec<Prompt>,
    /// For every prompt, the index of its utterance.
    pub rows: Vec<usize>,
    /// Utterances that were left out as too long.
    pub skipped: Vec<usize>,
    /// Utterances that were left out because they have no usable tokens.
    pub bad: Vec<usize>,
    /// Utterances that were cut.
    pub truncated: Vec<usize>,
}

/// Stands for the utterance while a template is rendered to find where it goes.
const MARK: &str = "\u{E000}utterance\u{E001}";

impl Prompt {
    /// Builds the prompt of one utterance, however long it is.
    pub fn new(model: &Model, condition: &spec::Prompt, utterance: &str) -> Result<Prompt, PromptError> {
        Form::new(model, condition)?.prompt(utterance)
    }

    /// Cuts tokens until `room` are left: the utterance's first ones, so that what stands around it (a system prompt, examples, the
    /// question) stays; where that alone is too long, the prompt's first ones, too.
    fn cut(&mut self, room: usize) {
        let cut = self.ids.len().saturating_sub(room);
        let Range { start, end } = self.utterance_tokens;
        let inside = cut.min(end - start);
        self.ids.drain(start..start + inside);
        let front = cut - inside;
        self.ids.drain(..front);
        let moved = |at: usize| at.saturating_sub(front);
        self.utterance_tokens = moved(start)..moved(end - inside);
        self.cut += cut;
    }
}

impl Prompts {
    /// Builds the prompts of many utterances, each with `reserve` tokens of the context left for a continuation.
    ///
    /// # Errors
    /// The first utterance that has no prompt, or the longest that is too long where the policy says to stop.
    pub fn new(
        model: &Model,
        condition: &spec::Prompt,
        utterances: &[impl AsRef<str> + Sync],
        reserve: usize,
        policy: impl Into<RowPolicy>,
    ) -> Result<Prompts, PromptError> {
        let RowPolicy { too_long, bad_rows } = policy.into();
        let (form, context) = (Form::new(model, condition)?, model.architecture().context);
        let room = context.saturating_sub(reserve);
        let mut out = Prompts::default();
        let (mut many, mut longest) = (0, None);
        let built: Vec<Result<Prompt, PromptError>> =
            utterances.par_iter().enumerate().map(|(row, utterance)| usable(&form, utterance.as_ref(), row)).collect();
        for (row, built) in built.into_iter().enumerate() {
            let mut prompt = match built {
                Err(PromptError::Unreadable { .. } | PromptError::Empty { .. } | PromptError::TokenOutOfRange { .. })
                    if bad_rows == BadRows::Skip =>
                {
                    out.bad.push(row);
                    continue;
                }
                result => result?,
            };
            let tokens = prompt.ids.len();
            if tokens > room {
                match too_long {
                    TooLong::Truncate if room > 0 => {
                        prompt.cut(room);
                        out.truncated.push(row);
                    }
                    TooLong::Skip => {
                        out.skipped.push(row);
                        continue;
                    }
                    _ => {
                        many += 1;
                        longest = longest.max(Some((tokens, std::cmp::Reverse(row))));
                        continue;
                    }
                }
            }
            out.prompts.push(prompt);
            out.rows.push(row);
        }
        if let Some((tokens, std::cmp::Reverse(row))) = longest {
            return Err(PromptError::TooLong { row, tokens, room, many, of: utterances.len() });
        }
        Ok(out)
    }
}

/// Token ids of a text as it follows a condition's prompts: an answer, or what is read instead of a reply. Tokenizers join texts as
/// they stand together: some put a space before what begins a text, which an answer doesn't, or take a space into the word behind it.
/// Where the text's beginning is joined to the prompt's end, they are the ids of the text alone.
///
/// # Errors
/// The condition can't be rendered, or the text not be tokenized.
pub fn following(model: &Model, condition: &spec::Prompt, text: &str) -> Result<Vec<u32>, PromptError> {
    let form = Form::new(model, condition)?;
    let end = form.marked.rsplit_once(MARK).map_or("", |(_, end)| end);
    let ids = |text: &str| model.tokenizer().ids(text, false);
    let (before, whole) = (ids(end)?, ids(&format!("{end}{text}"))?);
    match whole.strip_prefix(before.as_slice()) {
        Some(rest) if !rest.is_empty() => Ok(rest.to_vec()),
        _ => Ok(ids(text)?),
    }
}

/// A condition as one model renders it.
struct Form<'a> {
    model: &'a Model,
    condition: &'a spec::Prompt,
    /// It with [`MARK`] for an utterance.
    marked: String,
}

impl<'a> Form<'a> {
    fn new(model: &'a Model, condition: &'a spec::Prompt) -> Result<Form<'a>, PromptError> {
        let mut form = Form { model, condition, marked: String::new() };
        form.marked = form.render(MARK)?;
        form.whole()?;
        Ok(form)
    }

    /// Refuses a chat template that leaves out a message: without it every row, or every condition, would be the same prompt.
    fn whole(&self) -> Result<(), PromptError> {
        let spec::Prompt::Chat(chat) = self.condition else { return Ok(()) };
        if chat.user.contains(spec::TEXT) && !self.marked.contains(MARK) {
            return Err(PromptError::Dropped { what: "the utterance" });
        }
        let marked = |change: &dyn Fn(&mut spec::Chat)| {
            let mut chat = chat.clone();
            change(&mut chat);
            let condition = spec::Prompt::Chat(chat);
            Form { model: self.model, condition: &condition, marked: String::new() }.render("x")
        };
        if chat.system.as_ref().is_some_and(|system| !system.is_empty())
            && !marked(&|chat| chat.system = Some(MARK.to_owned()))?.contains(MARK)
        {
            return Err(PromptError::Dropped { what: "the system message" });
        }
        for turn in 0..chat.turns.len() {
            let user = marked(&|chat| MARK.clone_into(&mut chat.turns[turn].user))?;
            let assistant = marked(&|chat| MARK.clone_into(&mut chat.turns[turn].assistant))?;
            if !user.contains(MARK) || !assistant.contains(MARK) {
                return Err(PromptError::Dropped { what: "an earlier turn" });
            }
        }
        Ok(())
    }

    /// The text that holds an utterance.
    fn render(&self, utterance: &str) -> Result<String, PromptError> {
        let put = |into: &str| into.replace(spec::TEXT, utterance);
        match self.condition {
            spec::Prompt::Template(template) => Ok(put(template)),
            spec::Prompt::Chat(chat) => {
                let system = chat.system.iter().map(|content| Message { role: "system", content: content.clone() });
                let user = |content: String| Message { role: "user", content };
                let assistant = |content: &str| Message { role: "assistant", content: content.to_owned() };
                let turns = chat.turns.iter().flat_map(|turn| [user(turn.user.clone()), assistant(&turn.assistant)]);
                let messages: Vec<Message> = system.chain(turns).chain([user(put(&chat.user))]).collect();
                Ok(self.model.template()?.render(&messages, &chat.variables)?)
            }
        }
    }

    fn prompt(&self, utterance: &str) -> Result<Prompt, PromptError> {
        let text = self.render(utterance)?;
        let span = span(&text, &self.marked, utterance);
        let encoding = self.model.tokenizer().encode(&text, matches!(self.condition, spec::Prompt::Template(_)))?;
        let holds = |(from, to): &(usize, usize)| *from < span.end && *to > span.start && from < to;
        let offsets = encoding.get_offsets();
        let first = offsets.iter().position(holds).unwrap_or(0);
        let end = offsets.iter().rposition(holds).map_or(first, |last| last + 1);
        Ok(Prompt { text, ids: encoding.get_ids().to_vec(), utterance_chars: span, utterance_tokens: first..end, cut: 0 })
    }
}

/// The prompt of one row, with at least one token and none that the model doesn't know.
fn usable(form: &Form<'_>, utterance: &str, row: usize) -> Result<Prompt, PromptError> {
    let vocab = form.model.architecture().vocab;
    let prompt = form.prompt(utterance).map_err(|error| match error {
        PromptError::Tokenizer(source) => PromptError::Unreadable { row, source },
        other => other,
    })?;
    if prompt.ids.is_empty() {
        return Err(PromptError::Empty { row });
    }
    match prompt.ids.iter().find(|id| **id as usize >= vocab) {
        Some(&id) => Err(PromptError::TokenOutOfRange { row, id, vocab }),
        None => Ok(prompt),
    }
}

/// The characters of `text` that are the utterance, given the same text with [`MARK`] in its place.
///
/// A template may trim the utterance or, rarely, look at it; then the last occurrence of the trimmed utterance counts.
fn span(text: &str, marked: &str, utterance: &str) -> Range<usize> {
    let chars = |s: &str| s.chars().count();
    if let Some((before, after)) = marked.split_once(MARK).filter(|(_, after)| !after.contains(MARK)) {
        let inside = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        if let Some(inside) = inside {
            let start = chars(before);
            return start..start + chars(inside);
        }
    }
    let utterance = utterance.trim();
    match text.rfind(utterance) {
        Some(at) => {
            let start = chars(&text[..at]);
            start..start + chars(utterance)
        }
        None => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_is_the_utterance_even_if_it_occurs_elsewhere() {
        assert_eq!(span("é a: a!", &format!("é a: {MARK}!"), "a"), 5..6);
        assert_eq!(span("<x>a<y>", &format!("<x>{MARK}<y>"), " a "), 3..4);
        assert_eq!(span("changed a", "nothing", "a"), 8..9);
    }
}
