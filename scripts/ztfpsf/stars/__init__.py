"""Which stars of an image measure its PSF: catalogues, detection, isolation, selection."""
