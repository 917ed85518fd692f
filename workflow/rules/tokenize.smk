# Tokens: each shard of a benchmark as a base model reads it, and what is wrong with its questions. First in line, and an
# input of every training and scoring: it costs no GPU.
localrules:
    audit_model,


rule tokenize:
    input:
        lambda w: prepared(shard_data(w.benchmark, w.shard).values()),
        lambda w: prepared(shard_examples(w.benchmark, w.shard).values()),
        lambda w: base_weights(w.model),
        model=lambda w: paths.base_record(w.model),
    output:
        tokens="results/tokens/prompt={prompt}/benchmark={benchmark}/model={model}/{shard}.parquet",
        manifest="results/tokens/prompt={prompt}/benchmark={benchmark}/model={model}/{shard}.json",
    log:
        "results/logs/tokenize/prompt={prompt}/benchmark={benchmark}/model={model}/{shard}.log",
    benchmark:
        "results/benchmarks/tokenize/prompt={prompt}/benchmark={benchmark}/model={model}/{shard}.tsv"
    priority: 10
    conda:
        "../../envs/calgrid.yaml"
    params:
        version=versions.TOKENIZE_VERSION,
        questions=lambda w: assignments(shard_data(w.benchmark, w.shard)),
        examples=lambda w: assignments(shard_examples(w.benchmark, w.shard)),
        answer_words=lambda w: assignments(shard_answer_words(w.benchmark, w.shard)),
        settings=shard_prompting,
    shell:
        "python $SCRIPTS/tokenize_benchmark.py --model {input.model:q} --benchmark {wildcards.benchmark:q}"
        " --questions {params.questions:q} --examples {params.examples:q} --answer-words {params.answer_words:q}"
        " {params.settings:q} --output {output.tokens:q} --manifest {output.manifest:q} > {log:q} 2>&1"


rule audit_model:
    input:
        lambda w: map(paths.manifest, model_tokens(w.model)),
    output:
        "results/audits/{model}.json",
    log:
        "results/logs/audit/{model}.log",
    benchmark:
        "results/benchmarks/audit/{model}.tsv"
    priority: 10
    conda:
        "../../envs/calgrid.yaml"
    resources:
        # No parameters: an audit that runs again on its own would hide from Snakemake 9.27 what else is missing, since it
        # leaves the jobs behind an `ancient` input unexamined then.
        limits=" ".join(settings_flags(CONFIG.audit)),
        score_attention=CONFIG.device.score_attention,
    shell:
        "python $SCRIPTS/audit_tokens.py --manifests {input:q} {resources.limits} --score-attention {resources.score_attention}"
        " --output {output:q} > {log:q} 2>&1"
