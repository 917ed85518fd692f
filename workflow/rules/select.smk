# Selection: the learning rate of each model, SFT set and smoothing.
checkpoint select:
    input:
        [paths.train_record(cell.path) for cell in grid.tuned_cells(CONFIG)],
    output:
        "results/selection.parquet",
    log:
        "results/logs/select.log",
    benchmark:
        "results/benchmarks/select.tsv"
    conda:
        "../../envs/calgrid.yaml"
    params:
        lr=selection_flags(),
        code=code("select_lr.py"),
    shell:
        "python $SCRIPTS/select_lr.py --train-json {input:q} {params.lr:q} --output {output:q} > {log:q} 2>&1"
