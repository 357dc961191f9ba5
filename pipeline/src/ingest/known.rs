//! What a model said in an earlier run, on its way from the state to whoever asks the model.

use contactflow_operators::epochs::Epoch;
use contactflow_schemas::prediction::{ConversationPrediction, Prediction};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// What a model said in an earlier run; complete for every epoch of event files as soon as these are assigned.
pub struct Known<'scope> {
    /// Of texts.
    pub predictions: Stream<'scope, Epoch, Vec<Prediction>>,
    /// Of conversations.
    pub qualities: Stream<'scope, Epoch, Vec<ConversationPrediction>>,
}

/// Rows of it that were read.
#[derive(Default)]
pub(super) struct Said {
    pub(super) predictions: Vec<Prediction>,
    pub(super) qualities: Vec<ConversationPrediction>,
}

type Output<R> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<R>>>;

/// What it takes to send rows: one capability per stream of [`Known`].
pub(super) type Capabilities = [Capability<Epoch>; 2];

/// Where the rows of one model leave the operator.
pub(super) struct KnownOutput {
    predictions: Output<Prediction>,
    qualities: Output<ConversationPrediction>,
}

impl KnownOutput {
    /// Adds two outputs to an operator, in the order of [`Capabilities`].
    pub(super) fn new<'scope>(builder: &mut OperatorBuilder<'scope, Epoch>) -> (Self, Known<'scope>) {
        let (predictions_output, predictions) = builder.new_output();
        let (qualities_output, qualities) = builder.new_output();
        let output = Self { predictions: Output::from(predictions_output), qualities: Output::from(qualities_output) };
        (output, Known { predictions, qualities })
    }

    /// Sends what was read.
    pub(super) fn give(&mut self, [predictions, qualities]: &Capabilities, said: &mut Said) {
        self.predictions.activate().session(predictions).give_iterator(said.predictions.drain(..));
        self.qualities.activate().session(qualities).give_iterator(said.qualities.drain(..));
    }
}
