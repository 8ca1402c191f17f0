//! What a node lets callers run, what it keeps of the output, and what it remembers of the commands: plain values and
//! calls that take `now`. Starting and ending processes is the host's.

mod jobs;
mod output;
mod policy;
mod refusal;
mod template;

pub use jobs::{Begun, Job, JobNumber, Jobs, RequestId};
pub use output::{KeptOutput, OutputKeeper};
pub use policy::{CommandMode, CommandPolicy, Program};
pub use refusal::CommandRefusal;
pub use template::{Parameter, Template, TemplateError};
