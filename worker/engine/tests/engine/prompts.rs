//! Prompts: spans, truncation, special settings of chat templates.

use limbic_engine::{PromptError, Prompts};
use limbic_proto::spec::{self, Chat, TooLong};

use crate::reference::{Reference, chat, chats, model, prompts, raw};

#[test]
fn spans_hold_the_utterance() {
    let (model, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
    let template = spec::Prompt::Template("{text}\n\nOh! What do I feel?".to_owned());
    let mut all = chats(&model, &meta.texts);
    all.extend(prompts(&model, &raw(), &meta.texts));
    all.extend(prompts(&model, &template, &meta.texts));
    for (prompt, text) in all.iter().zip(meta.texts.iter().cycle()) {
        let span = prompt.utterance_chars.clone();
        let inside: String = prompt.text.chars().skip(span.start).take(span.len()).collect();
        assert_eq!(inside, *text);
        let spoken = model.tokenizer().decode(&prompt.ids[prompt.utterance_tokens.clone()]).unwrap();
        assert!(spoken.contains(text.trim()), "{spoken:?} should hold {text:?}");
        assert!(spoken.chars().count() <= text.chars().count() + 2, "{spoken:?} is more than {text:?}");
    }
}

#[test]
fn long_prompts_are_refused_skipped_or_cut() {
    let model = model("llama-plain");
    let texts = ["Oh!".to_owned(), "I cried. ".repeat(400)];
    let build = |policy| Prompts::new(&model, &raw(), &texts, 12, policy);
    let refused = build(TooLong::Error).unwrap_err();
    assert!(matches!(refused, PromptError::TooLong { row: 1, room: 500, .. }), "{refused}");
    let skipped = build(TooLong::Skip).unwrap();
    assert_eq!((skipped.rows, skipped.skipped), (vec![0], vec![1]));
    let cut = build(TooLong::Truncate).unwrap();
    assert_eq!((cut.rows.len(), cut.truncated, cut.prompts[1].ids.len()), (2, vec![1], 500));
    let whole = model.tokenizer().ids(&texts[1], true).unwrap();
    assert_eq!(cut.prompts[1].ids, whole[whole.len() - 500..]);
    assert_eq!(cut.prompts[1].utterance_tokens, 0..500);
}

#[test]
fn an_empty_text_has_no_prompt_but_an_empty_chat_has() {
    let model = model("llama-plain");
    let built = |condition: &spec::Prompt| Prompts::new(&model, condition, &[""], 0, TooLong::Error);
    assert!(matches!(built(&raw()).unwrap_err(), PromptError::Empty { row: 0 }));
    let chat = built(&chat(0)).unwrap();
    assert!(chat.prompts[0].utterance_tokens.is_empty());
}

#[test]
fn an_empty_system_message_is_sent_and_an_absent_one_is_not() {
    let model = model("llama-plain");
    let built = |system: Option<&str>| {
        let condition = spec::Prompt::Chat(Chat { system: system.map(str::to_owned), ..Chat::default() });
        prompts(&model, &condition, &["Oh!".to_owned()]).remove(0).text
    };
    assert!(built(None).contains("You are a helpful assistant."));
    assert!(built(Some("")).starts_with("<|im_start|>system\n<|im_end|>"));
}
