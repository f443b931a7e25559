//! Prompts: spans, truncation, special settings of chat templates.

use limbic_engine::{Model, Placement, Prompt, PromptError, Prompts, following};
use limbic_proto::spec::{self, Chat, TooLong, Turn};

use crate::damage::copy;
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
fn earlier_turns_stand_before_the_message_and_do_not_hold_the_utterance() {
    let (model, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
    // One of the examples is the utterance itself, another one holds it; the message says it again behind.
    for text in meta.texts.iter().filter(|text| !text.trim().is_empty()) {
        let turn = |user: String, assistant: &str| Turn { user, assistant: assistant.to_owned() };
        let turns = vec![turn(format!("Feel: {text} I said {text}"), "joy"), turn(format!("So, {text}?"), "fear")];
        let chat = Chat { system: Some("Name it.".to_owned()), turns, user: format!("Feel: {{text}} I said {text}"), ..Chat::default() };
        let prompt = prompts(&model, &spec::Prompt::Chat(chat), std::slice::from_ref(text)).remove(0);
        let said = |role: &str, what: &str| format!("<|im_start|>{role}\n{what}<|im_end|>\n");
        let first = format!("Feel: {text} I said {text}");
        let before = [said("system", "Name it."), said("user", &first), said("assistant", "joy"), said("user", &format!("So, {text}?"))];
        let before = before.concat() + &said("assistant", "fear") + "<|im_start|>user\nFeel: ";
        assert_eq!(prompt.text, format!("{before}{text} I said {text}<|im_end|>\n<|im_start|>assistant\n"));
        let chars = |text: &str| text.chars().count();
        assert_eq!(prompt.utterance_chars, chars(&before)..chars(&before) + chars(text));
        // The tokens in front of the utterance hold what stands in front of it, and none of its own.
        let tokens = prompt.utterance_tokens.clone();
        let spoken = model.tokenizer().decode(&prompt.ids[tokens.clone()]).unwrap();
        assert!(spoken.contains(text.trim()) && chars(&spoken) <= chars(text) + 2, "{spoken:?} is not {text:?}");
        let plain = |text: &str| text.replace("<|im_start|>", "").replace("<|im_end|>", "");
        let front = model.tokenizer().decode(&prompt.ids[..tokens.start]).unwrap();
        assert!(plain(&before).starts_with(&front) && plain(&before).len() <= front.len() + 1, "{front:?} is not {before:?}");
    }
}

#[test]
fn every_token_of_a_chat_has_a_text_special_ones_too() {
    let (model, meta) = (model("llama-plain"), Reference::read("llama-plain").meta);
    let shown = |prompt: &Prompt| prompt.ids.iter().map(|id| model.tokenizer().shown(*id).unwrap()).collect::<Vec<String>>();
    for prompt in chats(&model, &meta.texts) {
        let tokens = shown(&prompt);
        assert!(tokens.iter().any(|token| token == "<|im_start|>") && tokens.iter().all(|token| !token.is_empty()), "{tokens:?}");
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
fn a_cut_leaves_what_stands_around_the_utterance() {
    let model = model("llama-plain");
    let text = "I cried. ".repeat(400);
    let calm =
        spec::Prompt::Chat(Chat { system: Some("Always remain calm.".to_owned()), user: "Feel: {text}!".to_owned(), ..Chat::default() });
    let cut = Prompts::new(&model, &calm, &[&text], 12, TooLong::Truncate).unwrap().prompts.remove(0);
    let whole = Prompts::new(&model, &calm, &[&text], 0, TooLong::Error).unwrap_err();
    let PromptError::TooLong { tokens, .. } = whole else { panic!("{whole}") };
    assert_eq!((cut.ids.len(), cut.cut), (500, tokens - 500));
    let said = |ids: &[u32]| model.tokenizer().decode(ids).unwrap();
    let (before, after) = (said(&cut.ids[..cut.utterance_tokens.start]), said(&cut.ids[cut.utterance_tokens.end..]));
    assert!(before.contains("Always remain calm.") && before.ends_with("Feel:") && after.contains("assistant"), "{before:?} {after:?}");
    let left = said(&cut.ids[cut.utterance_tokens.clone()]);
    assert!(text.trim().ends_with(left.trim().trim_end_matches('!').trim()) && left.len() > 1000, "{left:?}");

    // A header that is too long alone loses its own beginning.
    let header = spec::Prompt::Template(format!("{}{{text}} So?", "word ".repeat(900)));
    let cut = Prompts::new(&model, &header, &["I cried."], 12, TooLong::Truncate).unwrap().prompts.remove(0);
    assert_eq!((cut.ids.len(), cut.utterance_tokens.len()), (500, 0));
    assert!(said(&cut.ids).ends_with("So?"));
}

#[test]
fn answers_are_the_tokens_that_follow_a_prompt() {
    let model = model("llama-plain");
    let asked = spec::Prompt::Template("{text}\nAnswer:".to_owned());
    for (condition, answer) in [(&asked, " joy"), (&chat(0), "joy"), (&raw(), " a filler")] {
        let alone = model.tokenizer().ids(answer, false).unwrap();
        assert_eq!(following(&model, condition, answer).unwrap(), alone, "byte-level tokenizers join nothing here");
    }

    // SentencePiece puts a space before what begins a text.
    let folder = copy("llama-plain");
    let letters = ["<unk>", "▁", "n", "o", "A", ":", "\n", "no", "▁no"];
    let vocabulary: serde_json::Map<_, _> = letters.iter().enumerate().map(|(id, token)| ((*token).to_owned(), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary, "merges": [["n", "o"], ["▁", "no"]],
        },
    });
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let model = Model::load(folder.path(), &Placement::cpu()).unwrap();
    let ids = |end: &str, answer: &str| following(&model, &spec::Prompt::Template(format!("{{text}}{end}")), answer).unwrap();
    assert_eq!(ids("\nA:", " no"), [8], "not a space and ` no`, as the answer alone is");
    assert_eq!(ids("\nA:\n", "no"), [7], "no space that isn't there");
    assert_eq!(model.tokenizer().ids(" no", false).unwrap(), [1, 8]);
    // Where the prompt's end and the answer are one token, the answer stands alone.
    assert_eq!(ids("\nA:n", "o"), model.tokenizer().ids("o", false).unwrap());
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

#[test]
fn a_template_that_leaves_out_what_is_asked_is_refused() {
    let folder = copy("llama-plain");
    let said = |template: &str, chat: Chat| {
        std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        let model = Model::load(folder.path(), &Placement::cpu()).unwrap();
        Prompt::new(&model, &spec::Prompt::Chat(chat), "Oh!").map(|prompt| prompt.text).map_err(|error| error.to_string())
    };
    let users = "{% for m in messages %}{% if m.role == 'user' %}<{{ m.content }}>{% endif %}{% endfor %}";
    let (plain, turn) = (Chat::default(), Turn { user: "Ah!".to_owned(), assistant: "joy".to_owned() });
    assert_eq!(said(users, plain.clone()), Ok("<Oh!>".to_owned()));
    assert_eq!(said(users, Chat { system: Some(String::new()), ..plain.clone() }), Ok("<Oh!>".to_owned()));
    let dropped = |what: &str| format!("the model's chat template leaves out {what}, so the model would never see it");
    for (template, chat, what) in [
        ("hello", plain.clone(), "the utterance"),
        (users, Chat { system: Some("You are calm.".to_owned()), ..plain.clone() }, "the system message"),
        (users, Chat { turns: vec![turn.clone()], ..plain.clone() }, "an earlier turn"),
        ("<{{ messages[-1].content }}>", Chat { turns: vec![turn], ..plain }, "an earlier turn"),
    ] {
        let error = said(template, chat).unwrap_err();
        assert!(error.starts_with(&dropped(what)), "{error}");
    }
}
