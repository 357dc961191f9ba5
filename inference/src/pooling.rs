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
                let mask = attention_mask.f_unsqueeze(2)?.f_to_kind(Kind::Float)?;
                let sum = |values: &Tensor| values.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float);
                Ok(sum(&states.f_mul(&mask)?)?.f_div(&sum(&mask)?)?)
            }),
        }
    }
}
