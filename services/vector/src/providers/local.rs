//! A BERT model in this process, read from a directory: no key, no network (feature `local-embeddings`).
//!
//! The directory is one as sentence-transformers writes them: `config.json`, `tokenizer.json`, `model.safetensors`, and where it is there `1_Pooling/config.json`.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use muster_runtime::files::regular_bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokenizers::{Encoding, Tokenizer, TruncationParams};
use tokio::sync::Semaphore;

use super::{Embedder, Embedding, Error};
use crate::error::MAX_DIMENSION;

/// Texts that go through the model at once: more need more memory and are not faster on a processor.
const BATCH: usize = 16;
/// The most tokens of a text; what is behind them does not count. Chunks have some 250.
const MAX_TOKENS: usize = 512;
/// The fewest positions that a model may have: room for the marks around a text, and the text.
const MIN_TOKENS: usize = 8;
/// The largest files: the smallest of the models that are too large to run here have more.
const MAX_WEIGHTS: u64 = 4 << 30;
const MAX_JSON: u64 = 64 << 20;

/// A model from a directory. One batch is computed at a time, on all processors.
pub(crate) struct Local {
    /// With a hash of the weights: vectors of others are never compared with these.
    name: String,
    model: Arc<Model>,
    turn: Semaphore,
}

struct Model {
    bert: BertModel,
    tokenizer: Tokenizer,
    pooling: Pooling,
}

/// How the vectors of tokens become that of their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pooling {
    Mean,
    /// The vector of the first token.
    First,
}

/// What sentence-transformers says of it.
#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_cls_token: bool,
}

impl Local {
    /// Reads the model and tries it with a text.
    ///
    /// # Errors
    /// A file that is not there, or that is not what it should be, with its path.
    pub(crate) fn load(dir: &Path) -> anyhow::Result<Self> {
        let config: Config = json(&dir.join("config.json"))?;
        check(&config).with_context(|| shown(&dir.join("config.json")))?;
        let tokenizer = tokenizer(&dir.join("tokenizer.json"), &config)?;
        let pooling = pooling(&dir.join("1_Pooling").join("config.json"))?;
        let path = dir.join("model.safetensors");
        let weights = regular_bytes(&path, MAX_WEIGHTS)?;
        let hash = Sha256::digest(&weights);
        let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let fits = || format!("{} is no model as config.json says", shown(&path));
        let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)
            .with_context(fits)?;
        let bert = BertModel::load(weights, &config).with_context(fits)?;
        let model = Model { bert, tokenizer, pooling };
        model.embed(&["a text".to_owned()]).map_err(|error| anyhow!(error)).with_context(fits)?;
        let last = dir.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = format!("local:{}:{hash}", last.unwrap_or_default());
        Ok(Self { name, model: Arc::new(model), turn: Semaphore::new(1) })
    }

    async fn batch(&self, texts: &[String]) -> Result<Vec<Embedding>, Error> {
        let broken = |reason: String| Error::Broken { model: self.name.clone(), reason };
        let _turn = self.turn.acquire().await.map_err(|closed| broken(closed.to_string()))?;
        let (model, texts) = (Arc::clone(&self.model), texts.to_vec());
        let embedded = tokio::task::spawn_blocking(move || model.embed(&texts)).await;
        embedded.map_err(|panic| broken(panic.to_string()))?.map_err(broken)
    }
}

impl Embedder for Local {
    fn name(&self) -> &str {
        &self.name
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> BoxFuture<'a, Result<Vec<Embedding>, Error>> {
        async move {
            let mut all = Vec::with_capacity(texts.len());
            for few in texts.chunks(BATCH) {
                all.extend(self.batch(few).await?);
            }
            Ok(all)
        }
        .boxed()
    }
}

impl Model {
    fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, String> {
        let encode = |text: &String| self.tokenizer.encode(text.as_str(), true);
        let encoded = texts.iter().map(encode).collect::<Result<Vec<Encoding>, _>>();
        let encoded =
            encoded.map_err(|error| format!("a text cannot be cut into tokens: {error}"))?;
        self.vectors(&encoded).map_err(|error| error.to_string())
    }

    fn vectors(&self, encoded: &[Encoding]) -> candle_core::Result<Vec<Embedding>> {
        let longest = encoded.iter().map(Encoding::len).max().unwrap_or_default().max(1);
        // Shorter texts are filled up, and the mask says with what.
        let padded = |row: fn(&Encoding) -> &[u32]| {
            let rows = encoded.iter().flat_map(|one| {
                row(one).iter().copied().chain(std::iter::repeat_n(0, longest - one.len()))
            });
            Tensor::from_vec(rows.collect::<Vec<u32>>(), (encoded.len(), longest), &Device::Cpu)
        };
        let (ids, types) = (padded(Encoding::get_ids)?, padded(Encoding::get_type_ids)?);
        let mask = padded(Encoding::get_attention_mask)?;
        let states = self.bert.forward(&ids, &types, Some(&mask))?;
        let pooled = match self.pooling {
            Pooling::First => states.narrow(1, 0, 1)?.squeeze(1)?,
            Pooling::Mean => {
                let mask = mask.to_dtype(DType::F32)?;
                let sum = states.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?;
                // A text without tokens has the vector without direction.
                sum.broadcast_div(&mask.sum_keepdim(1)?.clamp(1e-9_f32, f32::MAX)?)?
            }
        };
        let length = pooled.sqr()?.sum_keepdim(1)?.sqrt()?.clamp(1e-12_f32, f32::MAX)?;
        let vectors: Vec<Embedding> = pooled.broadcast_div(&length)?.to_vec2()?;
        if vectors.iter().flatten().any(|number| !number.is_finite()) {
            candle_core::bail!("the model made numbers that are none");
        }
        Ok(vectors)
    }
}

fn check(config: &Config) -> anyhow::Result<()> {
    if let Some(kind) = config.model_type.as_deref().filter(|kind| *kind != "bert") {
        bail!("model_type is {kind:?}, but must be \"bert\" (as all-MiniLM, BGE, E5 and GTE have)");
    }
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    ensure!(
        (1..=MAX_DIMENSION).contains(&hidden),
        "hidden_size is {hidden}, but vectors of 1 to {MAX_DIMENSION} numbers can be indexed"
    );
    ensure!(
        heads > 0 && hidden.is_multiple_of(heads),
        "num_attention_heads is {heads}, but must divide the hidden_size {hidden}"
    );
    let positions = config.max_position_embeddings;
    ensure!(
        positions >= MIN_TOKENS,
        "max_position_embeddings is {positions}, but must be at least {MIN_TOKENS}"
    );
    Ok(())
}

fn tokenizer(path: &Path, config: &Config) -> anyhow::Result<Tokenizer> {
    let bytes = regular_bytes(path, MAX_JSON)?;
    let wrong = |error: tokenizers::Error| anyhow!("{} is no tokenizer: {error}", shown(path));
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(wrong)?;
    let (known, words) = (config.vocab_size, tokenizer.get_vocab_size(true));
    ensure!(
        words <= known,
        "{} has {words} tokens, but the model of config.json knows {known}",
        shown(path)
    );
    let max_length = config.max_position_embeddings.min(MAX_TOKENS);
    let truncation = TruncationParams { max_length, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(wrong)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn pooling(path: &Path) -> anyhow::Result<Pooling> {
    if !path.exists() {
        return Ok(Pooling::Mean);
    }
    let config: PoolingConfig = json(path)?;
    match (config.pooling_mode_mean_tokens, config.pooling_mode_cls_token) {
        (true, false) => Ok(Pooling::Mean),
        (false, true) => Ok(Pooling::First),
        _ => bail!(
            "{} must have either pooling_mode_mean_tokens or pooling_mode_cls_token: other poolings cannot be done",
            shown(path)
        ),
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let bytes = regular_bytes(path, MAX_JSON)?;
    serde_json::from_slice(&bytes).with_context(|| shown(path))
}

fn shown(path: &Path) -> String {
    PathBuf::from(path).display().to_string()
}
