# What data, trainings and scorings are made of: their inputs and flags; outputs.smk has what follows scoring. No rule here.


def source_folder(source):
    """What reading a source depends on: a folder made by the workflow, or nothing.

    A user's own folder takes part by `source_files`, since its modification times change with every copy.
    """
    if not source.from_workflow:
        return []
    return "results/demo" if source.path.startswith("results/demo/") else source.path


def source_files(source):
    """The files of a user's own folder, so that a changed folder is prepared again, and a touched one is not."""
    return [] if source.path is None or source.from_workflow else folder_state(source.path)


@cache
def folder_state(folder):
    """Name and content of each file, large ones sampled."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return [f"{path.relative_to(folder)} {sampled_hash(path)}" for path in files]


def entry(catalogue, name):
    """An entry of the catalogue by a wildcard's value, or a message that says which there are."""
    entries = getattr(CONFIG, catalogue)
    if name not in entries:
        raise WorkflowError(f"{name!r} is not in `{catalogue}`; there are: {', '.join(entries)}")
    return entries[name]


def record(wildcards):
    """The record of a cell's weights: base.json or train.json."""
    cell = Cell.parse(CELL.format(**wildcards))
    return paths.base_record(cell.model) if cell.is_base else paths.train_record(cell.path)


def prepared(names):
    """Prepared data as inputs: the manifests decide about reruns, the (large) data only have to be there."""
    names = list(names)
    return [*(undamaged(paths.manifest(name)) for name in names), *map(ancient, names)]


DAMAGED = []  # manifests, with reasons


@cache
def undamaged(manifest):
    """A manifest, which decides about reruns. A damaged one is named, and no job starts that would take it for changed.

    Raised here, Snakemake would only take what depends on it for files that no rule makes.
    """
    if workflow.is_main_process and Path(manifest).exists():
        try:
            read_json(manifest)
        except UserError as error:
            DAMAGED.append(str(error))
            print(f"error: {error}", file=sys.stderr)
    return manifest


def training_data(wildcards):
    """Packed data of a cell, whose numbers must be spelt as the grid spells them: one number, one cell."""
    for name, canonical in {
        "smoothing": canonical_smoothing,
        "lr": canonical_lr,
        "seed": lambda seed: str(int(seed)),
    }.items():
        value = wildcards[name]
        try:
            expected = canonical(value)
        except ValueError as error:
            raise WorkflowError(f"{name}={value} in the path of a cell: {error}") from None
        if value != expected:
            raise WorkflowError(f"{name}={value} in the path of a cell: this number is spelt {expected}")
    return prepared([paths.packed(wildcards.model, wildcards.sft)])


def billions(model):
    """Parameters of a model, in billions; as many as the paper's largest has, where the configuration does not say."""
    source = entry("models", model)
    return 0 if source.pretrain else (source.parameters or 8e9) / 1e9


def node_memory(model, gpus=1):
    """MiB of a node's memory: the libraries', and twice the model in bfloat16 for each GPU that loads it."""
    return round(16_000 + 4_000 * billions(model) * gpus)


def training_resources():
    """Where and how a training is computed: a change runs nothing again."""
    return {
        "mem_mb": lambda w, attempt: attempt
        * node_memory(w.model, entry("models", w.model).gpus // entry("models", w.model).nodes),
        "gpu": lambda w: entry("models", w.model).gpus,
        "nodes": lambda w: entry("models", w.model).nodes,
        "train_tokens": CONFIG.device.train_tokens,
        "activation_checkpointing": int(CONFIG.device.activation_checkpointing),
        "checkpoint_minutes": str(CONFIG.device.checkpoint_minutes),
    }


def packing_flags():
    return settings_flags(Packing(**CONFIG.training.model_dump(include=set(Packing.model_fields))))


def sft_flags(dataset):
    flags = [*dataset.flags(), "--layout", dataset.layout, "--split", dataset.split]
    flags += ["--config", dataset.config] if dataset.config else []
    return flags + (["--max-rows", str(dataset.max_rows)] if dataset.max_rows else [])


def benchmark_source_flags(benchmark, language, split):
    flags = [*benchmark.flags(), "--layout", benchmark.layout, "--split", split, "--language", language]
    return [*flags, "--config", benchmark.config.format(language=language)]


def question_flags(wildcards):
    benchmark = entry("benchmarks", wildcards.benchmark)
    flags = benchmark_source_flags(benchmark, wildcards.language, benchmark.split)
    return flags + (["--max-questions", str(benchmark.max_questions)] if benchmark.max_questions else [])


def example_flags(wildcards):
    benchmark = entry("benchmarks", wildcards.benchmark)
    if benchmark.example_split is None:
        raise WorkflowError(f"benchmarks.{wildcards.benchmark}: has no example_split; add it")
    return benchmark_source_flags(benchmark, wildcards.language, benchmark.example_split)


def base_source(model):
    """Where a base model comes from; one that the workflow pretrains is a folder made by a rule."""
    source = entry("models", model)
    return Source(path=f"results/pretrained/{model}") if source.pretrain else source


def base_weights(model):
    """The folder that base.json names, where the workflow makes it; it only has to be there."""
    folder = source_folder(base_source(model))
    return [ancient(folder)] if folder else []


def pretraining_corpus(model):
    """The inputs of a pretraining: the manifests of SFT sets, or the embedded corpus."""
    pretrain = entry("models", model).pretrain
    if pretrain is None:
        raise WorkflowError(f"models.{model}: has no `pretrain`; it is not made by this workflow")
    names = [paths.sft_data(name) for name in pretrain.corpus if name != CLDR_CORPUS]
    return [*prepared(names), *(["results/demo"] if CLDR_CORPUS in pretrain.corpus else [])]


def pretraining_flags(model):
    return settings_flags(entry("models", model).pretrain.model_copy(update={"corpus": None}))


def cell_weights(wildcards):
    """The weights of a cell have to be there; its record decides whether they have changed."""
    cell = CELL.format(**wildcards)
    return base_weights(wildcards.model) if wildcards.sft == BASE else [ancient(paths.weights(cell))]


def shard_data(benchmark, shard):
    """Prepared questions of each language of a shard."""
    entry("benchmarks", paths.configured(benchmark))
    shards = grid.shards(CONFIG, benchmark)
    if shard not in shards:
        raise WorkflowError(f"benchmarks.{benchmark} has no shard {shard!r}; there are: {', '.join(shards)}")
    return {language: paths.benchmark_data(benchmark, language) for language in shards[shard]}


def shard_examples(benchmark, shard):
    """Prepared examples of each language of a shard, where the prompt has any."""
    if not CONFIG.scoring.shots:
        return {}
    return {
        language: paths.examples(paths.configured(benchmark), language) for language in shard_data(benchmark, shard)
    }


def shard_answer_words(benchmark, shard):
    if CONFIG.scoring.language != "native":
        return {}
    return {language: CONFIG.answer_words[language] for language in shard_data(benchmark, shard)}


def assignments(values):
    return [f"{name}={value}" for name, value in values.items()]


def prompting_flags():
    return settings_flags(Prompting(**CONFIG.scoring.model_dump(include=set(Prompting.model_fields))))


def shard_prompt(benchmark, shard):
    return grid.prompt_name(CONFIG, shard_data(benchmark, shard))


def shard_prompting(wildcards):
    """The prompt's flags, for tokens whose path names this prompt."""
    current = shard_prompt(wildcards.benchmark, wildcards.shard)
    if wildcards.prompt != current:
        raise WorkflowError(f"prompt={wildcards.prompt} is not the configuration's prompt, whose name is {current}")
    return prompting_flags()


def shard_tokens(wildcards):
    prompt = shard_prompt(wildcards.benchmark, wildcards.shard)
    return paths.tokens(prompt, wildcards.benchmark, wildcards.model, wildcards.shard)


def model_tokens(model):
    """The tokens of all questions that the grid scores with a model.

    Without content-free prompts: their options do read alike, and an audit stands before every training, which listing
    them later is not to touch.
    """
    return [
        paths.tokens(shard_prompt(benchmark, shard), benchmark, model, shard)
        for benchmark in CONFIG.grid.benchmarks
        for shard in grid.shards_in_grid(CONFIG, benchmark)
    ]


def content_free_prompts(benchmark):
    """The name of a benchmark's content-free prompts, where the configuration has any."""
    return [paths.content_free(benchmark)] if CONFIG.scoring.content_free else []


def content_free_flags():
    """How content-free prompts are made; one for each topic where the examples before them go by topic."""
    texts = CONFIG.scoring.content_free
    if not texts:
        raise WorkflowError("scoring.content_free: empty; list texts that say nothing, such as [N/A]")
    return [*(f"--text={text}" for text in texts), *(["--by-topic"] if CONFIG.scoring.shots else [])]
