"""The classifiers that Contraflow ships: their networks, their training, and the phenomena they show. Needs torch.

__main__     the command line
networks/    network definitions
training/    data, recipes and the training loop
phenomena/   the phenomena, measured and drawn
bundles/     what is shipped
"""
