//! The part of the dataflow that asks a model, about texts and about the conversations that they make up. A job has it once for the
//! model that is published, and once more for a candidate.

use std::sync::{Arc, PoisonError};

use contactflow_inference::DevicePool;
use contactflow_operators::causes::Causes;
use contactflow_operators::epochs::Epoch;
use contactflow_operators::infer::{AnswerJournal, Backlog, infer};
use contactflow_operators::scores::{Asking, Compared, Contributions, cycles, explain, qualities, scores};
use contactflow_schemas::facts::{ConversationScore, LabelledText, MessageScore, Turn};
use contactflow_schemas::prediction::{ConversationRequest, Request, TextRequest};
use contactflow_schemas::windows::Windows;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Stream;
use timely::dataflow::operators::Inspect;

use crate::ingest::{Known, round_of};
use crate::job::{JobContext, Scoring, Sequences};
use crate::model::{NoModel, PooledModel};
use crate::state::ModelJournal;

/// What a model is asked about.
#[derive(Clone)]
pub struct Subjects<'scope> {
    /// Texts as they are read, some more than once.
    pub texts: Stream<'scope, Epoch, Vec<TextRequest>>,
    /// The messages that stand.
    pub turns: VecCollection<'scope, Epoch, Turn, isize>,
    /// Messages of which a rater has told the class.
    pub labelled: VecCollection<'scope, Epoch, LabelledText, isize>,
}

/// What it says of them.
pub struct Opinions<'scope> {
    /// Scored messages.
    pub messages: VecCollection<'scope, Epoch, MessageScore, isize>,
    /// Scored cycles, with their quality where it is known.
    pub conversations: VecCollection<'scope, Epoch, ConversationScore, isize>,
    /// What raters say beside what it says.
    pub compared: VecCollection<'scope, Epoch, Compared, isize>,
    /// What the cycles contribute to the hourly cells, if this model is to count.
    pub contributions: Contributions<'scope>,
}

/// One of the models of a job, on one worker.
pub struct Asker {
    is_candidate: bool,
    scoring: Scoring,
    /// The worker in its process: devices belong to a process.
    index: usize,
    backlog: Backlog,
    journal: ModelJournal,
    windows: Windows,
    causes: Causes,
    sequences: Option<Sequences>,
}

impl Asker {
    /// The model, or the candidate, of a job; what it says is written to `journal`.
    pub fn new(context: &JobContext, index: usize, is_candidate: bool, journal: ModelJournal) -> Self {
        let scoring = if is_candidate { &context.candidate } else { &context.model };
        // What a candidate says changes nothing that restatements tell of: its causes are told to nobody.
        let causes = if is_candidate { Causes::default() } else { context.causes.clone() };
        Self {
            is_candidate,
            scoring: scoring.clone(),
            index,
            backlog: context.backlog.clone(),
            journal,
            windows: context.windows.clone(),
            causes,
            sequences: context.sequences.clone(),
        }
    }

    /// Asks for what is not `known`: each distinct text once, and once every distinct sequence of turns.
    pub fn ask<'scope>(self, subjects: Subjects<'scope>, known: Known<'scope>) -> Opinions<'scope> {
        let Subjects { texts, turns, labelled } = subjects;
        let devices = self.scoring.devices.as_ref();
        let predictions = self.answers(texts, known.predictions, devices.map(|devices| Arc::clone(&devices.texts)));
        let scored = scores(turns.clone(), labelled, predictions, self.is_candidate);
        let of_messages = self.causes.clone();
        let messages = scored.messages.inspect(move |(score, _, _)| explain(&of_messages, score));

        // Cycles whose turns are all scored are asked for their quality.
        let asking = Asking { with_quality: self.scoring.with_quality, round_of };
        let cycles = cycles(turns, messages.clone(), asking, &self.windows, self.causes.clone());
        let sequences = self.sequences.clone();
        let asked = cycles.requests.inspect(move |request: &ConversationRequest| {
            if let Some(sequences) = &sequences {
                sequences.lock().unwrap_or_else(PoisonError::into_inner).insert(request.key);
            }
        });
        let judges = devices.and_then(|devices| devices.judges.clone());
        let answers = self.answers(asked, known.qualities, judges);
        let quality = qualities(cycles.scores, answers, &self.windows, self.causes.clone());
        Opinions {
            messages,
            conversations: quality.rows,
            compared: scored.compared,
            contributions: cycles.contributions.concat(quality.contributions),
        }
    }

    /// Asks these devices. Without any only what is `known` is answered, and nothing is kept of what waits.
    fn answers<'scope, R>(
        &self,
        requests: Stream<'scope, Epoch, Vec<R>>,
        known: Stream<'scope, Epoch, Vec<R::Answer>>,
        devices: Option<Arc<DevicePool<R>>>,
    ) -> VecCollection<'scope, Epoch, R::Answer, isize>
    where
        R: Request<Answer: ExchangeData> + timely::ExchangeData,
        ModelJournal: AnswerJournal<R>,
    {
        let (backlog, index) = (self.backlog.clone(), self.index);
        match devices {
            Some(devices) => {
                let connect = move |wake| PooledModel::connect(&devices, index, wake);
                infer(requests, known, backlog, self.journal.clone(), connect)
            }
            None => infer(requests, known, backlog, (), |_| NoModel::default()),
        }
    }
}
