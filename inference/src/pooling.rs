//! From the states of a text's tokens to what is asked for.

use serde::Deserialize;
use tch::{Kind, Tensor, no_grad};

use crate::error::Result;

/// What becomes of the token states of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderOutput {
    /// The mean over the tokens, special ones included.
    Mean,
    /// The state of the first token, `[CLS]`.
    Cls,
    /// Every state; those of padding are meaningless.
    Tokens,
}

impl EncoderOutput {
    /// Of `states` `[batch, length, hidden]` with `attention_mask` `[batch, length]`: `[batch, hidden]`, or all of them.
    ///
    /// # Errors
    /// [`InferenceError::Torch`] when shapes disagree.
    pub fn of(self, states: &Tensor, attention_mask: &Tensor) -> Result<Tensor> {
        match self {
            Self::Tokens => Ok(states.shallow_clone()),
            Self::Cls => Ok(states.f_select(1, 0)?),
            Self::Mean => no_grad(|| {
                let count = attention_mask.f_sum_dim_intlist([1_i64].as_slice(), true, Kind::Float)?;
                // Filled, not multiplied by zero: what stands at padding may be no number.
                let visible = states.f_masked_fill(&attention_mask.f_eq(0)?.f_unsqueeze(2)?, 0.0)?;
                Ok(visible.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?.f_div(&count)?)
            }),
        }
    }
}
