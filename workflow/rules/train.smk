# Models: pretrained here (tiny ones) or fetched, and then fine-tuned, one job a cell.
localrules:
    base_model,


rule pretrain:
    input:
        lambda w: pretraining_corpus(w.model),
    output:
        directory("results/pretrained/{model}"),
    log:
        "results/logs/pretrain/{model}.log",
    benchmark:
        "results/benchmarks/pretrain/{model}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        version=versions.PRETRAIN_VERSION,
        corpus=lambda w: paths.corpus(entry("models", w.model).pretrain.corpus),
        settings=lambda w: pretraining_flags(w.model),
    shell:
        "python $SCRIPTS/pretrain_model.py --corpus {params.corpus:q} {params.settings:q}"
        " --output {output:q} > {log:q} 2>&1"


# Fetches a model of the Hub to the local cache, checks it before any GPU hour, and records where it lies.
rule base_model:
    input:
        lambda w: source_folder(base_source(w.model)),
    output:
        f"results/models/{BASE_CELL}/base.json",
    log:
        "results/logs/base_model/{model}.log",
    benchmark:
        "results/benchmarks/base_model/{model}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        files=lambda w: source_files(base_source(w.model)),
        source=lambda w: base_source(w.model).flags(),
    shell:
        "python $SCRIPTS/fetch_base_model.py {params.source:q} --output {output:q} > {log:q} 2>&1"


# Each SFT set as a model reads it, once for all the trainings on it; no GPU.
rule pack:
    input:
        lambda w: prepared([paths.sft_data(w.sft)]),
        lambda w: base_weights(w.model),
        base=lambda w: paths.base_record(w.model),
    output:
        data="results/packed/model={model}/{sft}.parquet",
        manifest="results/packed/model={model}/{sft}.json",
    log:
        "results/logs/pack/model={model}/{sft}.log",
    benchmark:
        "results/benchmarks/pack/model={model}/{sft}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        version=versions.PACK_VERSION,
        data=lambda w: paths.sft_data(w.sft),
        settings=packing_flags(),
    shell:
        "python $SCRIPTS/pack_conversations.py --base {input.base:q} --data {params.data:q} {params.settings:q}"
        " --output {output.data:q} --manifest {output.manifest:q} > {log:q} 2>&1"


rule train:
    input:
        training_data,
        lambda w: ancient(paths.audit(w.model)),
        lambda w: base_weights(w.model),
        base=lambda w: paths.base_record(w.model),
    output:
        weights=directory(f"results/models/{CELL}/model"),
        record=f"results/models/{CELL}/train.json",
    log:
        f"results/logs/train/{CELL}.log",
    benchmark:
        f"results/benchmarks/train/{CELL}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    resources:
        **training_resources(),
    params:
        version=versions.TRAIN_VERSION,
        data=lambda w: paths.packed(w.model, w.sft),
        checkpoints=f"results/checkpoints/models/{CELL}",
        settings=settings_flags(CONFIG.training),
    shell:
        "python $SCRIPTS/launch_training.py --gpus {resources.gpu} --nodes {resources.nodes} --threads {threads}"
        " --result {output.record:q} -- $SCRIPTS/train_cell.py --base {input.base:q} --conversations {params.data:q}"
        " --smoothing {wildcards.smoothing} --lr {wildcards.lr} --seed {wildcards.seed} {params.settings:q}"
        " --train-tokens {resources.train_tokens} --activation-checkpointing {resources.activation_checkpointing}"
        " --checkpoints {params.checkpoints:q} --checkpoint-minutes {resources.checkpoint_minutes}"
        " --weights {output.weights:q} --record {output.record:q} > {log:q} 2>&1"


# On several machines the command calls srun itself; `mpi` is how Snakemake's Slurm plugin is told not to.
use rule train as train_on_nodes with:
    wildcard_constraints:
        model="|".join(map(re.escape, (name for name, model in CONFIG.models.items() if model.nodes > 1))) or "(?!)",
    resources:
        **training_resources(),
        mpi="srun",
        tasks=lambda w: entry("models", w.model).nodes,
        tasks_per_gpu=0,


ruleorder: train_on_nodes > train
