//! A tiny BERT with numbers that mean nothing: it shows that files are read and computed with, not that vectors are good.

use std::collections::HashMap;
use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const HIDDEN: usize = 16;
const WORDS: [&str; 12] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "boats", "lie", "in", "the", "harbour", "wine", "grows",
    "here",
];

fn config() -> Value {
    json!({
        "model_type": "bert", "vocab_size": WORDS.len(), "hidden_size": HIDDEN,
        "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 12,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    })
}

fn tokenizer_json() -> Value {
    let vocab: HashMap<&str, usize> = WORDS.iter().copied().zip(0..).collect();
    let special = |id: usize| {
        json!({ "id": id, "content": WORDS[id], "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true })
    };
    let mark = |id: usize| json!({ "id": WORDS[id], "ids": [id], "tokens": [WORDS[id]] });
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": (0..4).map(special).collect::<Vec<_>>(),
        "normalizer": { "type": "Lowercase" },
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": "[SEP]", "type_id": 0 } },
            ],
            "pair": [],
            "special_tokens": { "[CLS]": mark(2), "[SEP]": mark(3) },
        },
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" },
    })
}

/// The names and shapes of the weights.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![WORDS.len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![12, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    let mut add = |name: String, to: usize, from: Option<usize>| {
        let weight = from.map_or_else(|| vec![to], |from| vec![to, from]);
        shapes.push((format!("{name}.weight"), weight));
        shapes.push((format!("{name}.bias"), vec![to]));
    };
    add("embeddings.LayerNorm".to_owned(), HIDDEN, None);
    for layer in ["encoder.layer.0", "encoder.layer.1"] {
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            add(format!("{layer}.attention.{part}"), HIDDEN, Some(HIDDEN));
        }
        add(format!("{layer}.attention.output.LayerNorm"), HIDDEN, None);
        add(format!("{layer}.intermediate.dense"), 24, Some(HIDDEN));
        add(format!("{layer}.output.dense"), HIDDEN, Some(24));
        add(format!("{layer}.output.LayerNorm"), HIDDEN, None);
    }
    shapes
}

/// The same numbers on every machine.
fn weights(seed: u64) -> HashMap<String, Tensor> {
    let mut state = seed;
    let mut number = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| number()).collect();
        (name, Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap())
    };
    shapes().into_iter().map(tensor).collect()
}

/// A directory with a model.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "config.json", &config());
    write(&dir, "tokenizer.json", &tokenizer_json());
    candle_core::safetensors::save(&weights(7), dir.path().join("model.safetensors")).unwrap();
    dir
}

fn write(dir: &TempDir, name: &str, value: &Value) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

async fn embed(local: &Local, texts: &[&str]) -> Vec<Embedding> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    local.embed(&texts).await.unwrap()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

fn refused(dir: &TempDir) -> String {
    match Local::load(dir.path()) {
        Ok(_) => panic!("the model was taken"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test]
async fn the_same_text_has_the_same_vector_alone_among_others_and_in_another_process() {
    let dir = directory();
    let (local, other) = (Local::load(dir.path()).unwrap(), Local::load(dir.path()).unwrap());
    assert!(local.name().starts_with("local:") && local.name() == other.name());
    let texts =
        ["boats lie in the harbour", "wine", "", "Boats lie in the HARBOUR", "unknown words"];
    let together = embed(&local, &texts).await;
    assert_eq!(together, embed(&other, &texts).await);
    assert!(together.iter().all(|vector| vector.len() == HIDDEN));
    for (text, vector) in texts.iter().zip(&together) {
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5, "{text}");
        let alone = embed(&local, &[text]).await.remove(0);
        assert!((cosine(vector, &alone) - 1.0).abs() < 1e-5, "{text}");
    }
    assert!((cosine(&together[0], &together[3]) - 1.0).abs() < 1e-5);
    assert!(cosine(&together[0], &together[1]) < 0.999);
    // More than a batch, and a text that is longer than the model can read.
    let many: Vec<&str> = std::iter::repeat_n("boats lie", BATCH * 2 + 1).collect();
    assert_eq!(embed(&local, &many).await.len(), many.len());
    let long = "harbour ".repeat(5_000);
    assert_eq!(embed(&local, &[&long]).await, embed(&local, &[&"harbour ".repeat(10)]).await);
    assert!(embed(&local, &[]).await.is_empty());
}

#[tokio::test]
async fn other_weights_have_another_name_and_another_pooling_other_vectors() {
    let dir = directory();
    let mean = Local::load(dir.path()).unwrap();
    write(&dir, "1_Pooling/config.json", &json!({ "pooling_mode_cls_token": true }));
    let first = Local::load(dir.path()).unwrap();
    let text = ["boats lie here"];
    assert_ne!(embed(&mean, &text).await, embed(&first, &text).await);
    write(&dir, "1_Pooling/config.json", &json!({ "pooling_mode_max_tokens": true }));
    assert!(refused(&dir).contains("1_Pooling/config.json must have either"));
    fs::remove_dir_all(dir.path().join("1_Pooling")).unwrap();
    candle_core::safetensors::save(&weights(8), dir.path().join("model.safetensors")).unwrap();
    assert_ne!(Local::load(dir.path()).unwrap().name(), mean.name());
}

#[test]
fn a_missing_or_broken_file_is_named() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let dir = directory();
        fs::write(dir.path().join(name), "{\"half\": ").unwrap();
        assert!(refused(&dir).contains(name), "{}", refused(&dir));
        fs::remove_file(dir.path().join(name)).unwrap();
        let error = refused(&dir);
        assert!(error.contains(name) && error.contains("No such file"), "{error}");
    }
    let broken = |field: &str, value: Value, expected: &str| {
        let dir = directory();
        let mut config = config();
        config[field] = value;
        write(&dir, "config.json", &config);
        let error = refused(&dir);
        assert!(error.contains(expected), "{error}");
    };
    broken("model_type", json!("mpnet"), "model_type is \"mpnet\"");
    broken("num_attention_heads", json!(0), "num_attention_heads is 0");
    broken("num_attention_heads", json!(3), "must divide the hidden_size 16");
    broken("hidden_size", json!(5_000), "hidden_size is 5000");
    broken("max_position_embeddings", json!(2), "max_position_embeddings is 2");
    broken("vocab_size", json!(4), "has 12 tokens, but the model of config.json knows 4");
    broken("hidden_act", json!("swish"), "swish");
    broken("intermediate_size", json!(99), "model.safetensors is no model as config.json says");
}
